//! Every driver's suite, straight to the server and through the port, on the oldest and the newest
//! supported server.

use anyhow::Result;
use twinport_integration::{Port, Suite, World, drivers};

async fn direct(suite: Suite, major: u32) -> Result<()> {
    let world = World::start(major).await?;
    suite.run(&world.direct()).await
}

/// Fewer connections than the suites have clients, in transaction mode.
async fn port(suite: Suite, major: u32) -> Result<()> {
    let world = World::start(major).await?;
    let port = Port::start(&world, 4).await?;
    let result = suite.run(&port.target()).await;
    port.stop().await;
    result
}

macro_rules! suites {
    ($($name:ident: $suite:expr,)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn direct_15() -> Result<()> {
                direct($suite, 15).await
            }

            #[tokio::test]
            async fn direct_18() -> Result<()> {
                direct($suite, 18).await
            }

            #[tokio::test]
            async fn port_15() -> Result<()> {
                port($suite, 15).await
            }

            #[tokio::test]
            async fn port_18() -> Result<()> {
                port($suite, 18).await
            }
        })*
    };
}

suites! {
    psql: drivers::PSQL,
    psycopg: drivers::PSYCOPG,
    asyncpg: drivers::ASYNCPG,
    sqlalchemy: drivers::SQLALCHEMY,
    django: drivers::DJANGO,
    node_postgres: drivers::NODE_POSTGRES,
    typeorm: drivers::TYPEORM,
    drizzle: drivers::DRIZZLE,
    prisma: drivers::PRISMA,
    pgjdbc: drivers::PGJDBC,
    hibernate: drivers::HIBERNATE,
    pgx: drivers::PGX,
    activerecord: drivers::ACTIVERECORD,
}
