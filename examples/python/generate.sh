#!/bin/sh
# Makes gen/ from ../../proto, with the python that has the packages of requirements.txt.
set -eu
cd "$(dirname "$0")"
rm -rf gen
mkdir gen
"${PYTHON:-python3}" -m grpc_tools.protoc -I../.. --python_out=gen --pyi_out=gen --grpc_python_out=gen ../../proto/*/v1/*.proto
