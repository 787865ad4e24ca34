import type { TerminalSize } from "../gen/proto/orchestrator/v1/orchestrator_pb.ts";

/** What a command gets of its client, behind the first frame; of ExecContainer and AttachExec alike. */
export interface ExecFrame {
  readonly payload:
    | { readonly case: "stdin"; readonly value: Uint8Array }
    | { readonly case: "closeStdin"; readonly value: Record<string, never> }
    | { readonly case: "resize"; readonly value: Pick<TerminalSize, "columns" | "rows"> }
    | { readonly case: "signal"; readonly value: string };
}
