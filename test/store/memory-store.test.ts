import { storeContract } from "../contract/store.ts";
import { MemoryStore, memoryDisk } from "./memory-store.ts";

storeContract("MemoryStore", async () => {
  const disk = memoryDisk();
  let store = new MemoryStore(disk);
  return {
    store,
    reopen: async () => {
      await store[Symbol.asyncDispose]();
      store = new MemoryStore(disk);
      return store;
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});
