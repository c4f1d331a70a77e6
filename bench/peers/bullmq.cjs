// The same jobs in BullMQ. usage: bullmq.cjs push CLASS COUNT | bullmq.cjs work CONCURRENCY
// As in bench/ruby/app.rb a job notes its end in its slot of $BENCH_SLOTS.
const fs = require("fs");
const { Queue, Worker } = require("bullmq");

const connection = { path: process.env.BENCH_REDIS, maxRetriesPerRequest: null };
const [verb, ...rest] = process.argv.slice(2);

async function push(name, count) {
  const queue = new Queue("bench", { connection });
  const text = "x".repeat(1000);
  for (let first = 0; first < count; first += 5000) {
    const jobs = [];
    for (let index = first; index < Math.min(first + 5000, count); index++) {
      const data = name === "sleep" ? { index, ms: 100, text } : { index };
      jobs.push({ name, data, opts: { removeOnComplete: true } });
    }
    await queue.addBulk(jobs);
  }
  await queue.close();
}

function work(concurrency) {
  const slots = fs.openSync(process.env.BENCH_SLOTS, "r+");
  const now = Buffer.alloc(8);
  const run = async (job) => {
    if (job.name === "sleep") await new Promise((done) => setTimeout(done, job.data.ms));
    now.writeBigUInt64LE(process.hrtime.bigint());
    fs.writeSync(slots, now, 0, 8, job.data.index * 8);
  };
  const worker = new Worker("bench", run, { connection, concurrency });
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
}

if (verb === "push") push(rest[0], Number(rest[1]));
else work(Number(rest[0]));
