// The bare thing beside the start of the server and of a command, compiled as they are. With the word `wait` it stays.

process.stdout.write("ready\n");
if (process.argv[2] === "wait") setInterval(() => {}, 60_000);
