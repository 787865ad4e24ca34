import { migrations } from "../../src/store/sqlite/migrations.ts";
import { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { storeContract } from "../contract/store.ts";
import { noteMigration } from "../contract/store-subject.ts";
import { tempFolder } from "../temp-folder.ts";

storeContract("SqliteStore", async () => {
  const folder = await tempFolder();
  const open = () => new SqliteStore(folder.file("test.db"), { migrations: [...migrations, noteMigration] });
  let store = open();
  return {
    store,
    reopen: async () => {
      await store[Symbol.asyncDispose]();
      store = open();
      return store;
    },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
});
