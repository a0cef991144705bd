// SPDX-License-Identifier: ISC
//
// Runs cases one after the other, each within its time, and exits with 1 when one fails.
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function cases(limit = 30000) {
  const all = [];
  const strays = [];
  for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, (error) => strays.push(error));

  async function done() {
    let failed = 0;
    for (const [name, body] of all) {
      let timer;
      const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("it takes too long")), limit); });
      try {
        await Promise.race([body(), late]);
        if (strays.length) throw strays[0];
      } catch (error) {
        failed++;
        console.log(`${name}: ${error.stack}`);
      }
      clearTimeout(timer);
      strays.length = 0;
    }
    console.log(`${all.length - failed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
  }
  return { test: (name, body) => all.push([name, body]), done };
}
