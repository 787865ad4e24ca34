import type { Chunk } from "../chat/answer-reader.ts";
import type { Piece } from "../chat/live-turn.ts";
import { StreamResponsesResponseSchema } from "../gen/proto/gateway/v1/gateway_pb.ts";
import { type Encoded, encode } from "./encoded.ts";
import { toWireChunk } from "./wire-gateway.ts";

/** How one reader wants its chunks. */
export interface ChunkFrames {
  readonly delta: boolean;
  readonly metadata: "with" | "without";
}

/** How many chunks one reader gets before the others have their turn: of a long answer in short ones there are millions. */
export const burst = 64;

/** Pieces that are the same chunk for all their readers are encoded once. */
const shared = { with: new WeakMap<Piece, Encoded>(), without: new WeakMap<Piece, Encoded>() };

/**
 * Makes the frames of one answer's chunks, one after the other. They are frames of StreamResponses and of StreamChat alike,
 * in which the chunk has the same number.
 */
export function chunkFrames({ delta, metadata }: ChunkFrames): (chunk: Chunk) => Encoded {
  let before = "";
  return (chunk) => {
    if (!delta) before += chunk.text;
    const shape = { soFar: delta ? undefined : before, metadata, at: Date.now() };
    const make = () =>
      encode(StreamResponsesResponseSchema, { payload: { case: "chunk", value: toWireChunk(chunk, shape) } });
    const { piece } = chunk;
    if (!delta || piece === undefined || chunk.place === "last") return make();
    const known = shared[metadata].get(piece);
    if (known !== undefined) return known;
    const frame = make();
    shared[metadata].set(piece, frame);
    return frame;
  };
}
