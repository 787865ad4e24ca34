/** What takes longest: engines that are started, a contract's whole suite, rounds of crashes. */
const longest = /\b(runCrash|runChatCrash|runFaults|startOwnEngine|OwnEngine\.start|runtimeContract)\(/;
const withContainers = /\b(engine|containerServer)\(/;
const withProcesses = /\b(startServer|spawn|spawnSync)\(/;

/**
 * About what a test file takes, in milliseconds, by what it uses. It is for the order alone, so that no long one is the last
 * and leaves processors idle: nothing has to be kept up to date, and a fresh clone has it.
 */
export function testCost(text: string): number {
  const tests = [...text.matchAll(/\btest(\.each)?[(<]/g)].length;
  if (longest.test(text)) return 60_000;
  if (withContainers.test(text)) return 10_000 + 1_000 * tests;
  return withProcesses.test(text) ? 3_000 + 400 * tests : 30 * tests;
}
