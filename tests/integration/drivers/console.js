// The admin database over node-postgres: node console.js URL

const { Client, Pool } = require("pg");

async function paused(client) {
  const { rows } = await client.query("SHOW DATABASES");
  return rows.find((row) => row.name === "p0").paused;
}

async function main(url) {
  const client = new Client(url);
  await client.connect();
  for (let run = 0; run < 3; run++) {
    const { rows } = await client.query({ name: "pools", text: "SHOW POOLS" });
    const active = rows.find((row) => row.database === "pgbouncer").cl_active;
    if (run === 2) console.log("pools", typeof active, active);
  }
  const clients = await client.query({ text: "SHOW CLIENTS", values: [], queryMode: "extended" });
  console.log("clients", clients.rows[0].type, clients.rows[0].id > 0);
  await client.query("PAUSE $1", ["p0"]);
  console.log("paused", await paused(client));
  await client.query("RESUME p0");
  console.log("paused", await paused(client));
  await client.query("NONSENSE").catch((error) => console.log("error", error.code));
  await client.query({ text: "NONSENSE", queryMode: "extended" }).catch((error) => console.log("error", error.code));
  await client.query("BEGIN");
  console.log("version", (await client.query("SHOW VERSION")).rows[0].version);
  await client.query("COMMIT");
  await client.end();

  const pool = new Pool({ connectionString: url, max: 2 });
  const found = await Promise.all([1, 2, 3].map(() => pool.query("SELECT 1")));
  console.log("pool", found.length);
  await pool.end();
  console.log("done");
}

main(process.argv[2]);
