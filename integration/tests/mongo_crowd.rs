//! A thousand clients on ten upstream connections, on both upstreams: everybody gets what is theirs, also while
//! upstream connections are killed, and of clients that leave in whatever way nothing is left.
//! In a process of its own, where one test at a time has the machine.

#[path = "mongo_crowd/client.rs"]
mod client;
#[path = "mongo/commands.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod commands;
#[path = "mongo/console.rs"]
mod console;
#[path = "mongo/gauge.rs"]
mod gauge;
#[path = "mongo/raw.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod raw;
#[path = "mongo/support.rs"]
#[allow(dead_code, reason = "the tests of the port use the rest")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::Client;
use console::{Console, cell};
use gauge::Gauge;
use raw::Raw;
use support::{Scene, Wants};
use tokio::sync::Mutex;
use twinport::Running;
use twinport_integration::mongo::Front;
use twinport_integration::{PASSWORD, USER, eventually};
use twinport_mongo::wing::Wing;
use twinport_wire::mongo::bson::rawdoc;

const CLIENTS: i32 = 1000;

/// Upstream connections.
const POOL: usize = 10;

/// How often the upstream connections are killed, and how long between.
const KILLS: usize = 3;
const PAUSE: Duration = Duration::from_millis(400);

/// So soon what clients leave is over.
const LINES: &str = "cursor_timeout = \"3s\"\nidle_transaction_timeout = \"3s\"";

static ALONE: Mutex<()> = Mutex::const_new(());

/// A port on Postgres, and perhaps one that forwards to it.
struct Stage {
    scene: Scene,
    before: Option<(Front, Gauge)>,
}

impl Stage {
    async fn postgres() -> Result<Self> {
        let scene = Scene::with(Wants {
            pool: POOL,
            mongo_lines: LINES,
            ..Wants::default()
        });
        Ok(Self {
            scene: scene.await?,
            before: None,
        })
    }

    async fn forwarding() -> Result<Self> {
        let mut stage = Self::postgres().await?;
        let gauge = Gauge::before(stage.scene.port).await?;
        let front = Front::of(&settings(gauge.port)).await?;
        stage.before = Some((front, gauge));
        Ok(stage)
    }

    /// The proxy that the clients talk to, and its port.
    fn faced(&self) -> (&Running, u16) {
        match &self.before {
            Some((front, _)) => (&front.running, front.port),
            None => (&self.scene.running, self.scene.port),
        }
    }

    fn wing(&self) -> Result<&Wing> {
        let wing = self.faced().0.mongo_wing();
        Ok(wing.context("no MongoDB port")?)
    }

    /// Kills all upstream connections: those between the proxies, and those to Postgres.
    async fn kill(&self) -> Result<()> {
        if let Some((_, gauge)) = &self.before {
            gauge.cut();
        }
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'twinport-mongo'";
        self.scene.admin.execute(sql, &[]).await?;
        Ok(())
    }

    /// Looks again and again at how many connections Postgres has, until told that it is enough.
    async fn watch(&self, enough: &AtomicBool) -> Result<()> {
        while !enough.load(Ordering::SeqCst) {
            self.holds_few().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn holds_few(&self) -> Result<()> {
        let upstream = self.scene.upstream().await?;
        ensure!(upstream <= POOL as i64, "{upstream} upstream connections");
        if let Some((_, gauge)) = &self.before {
            let most = gauge.most();
            ensure!(most <= POOL, "{most} upstream connections");
        }
        Ok(())
    }

    async fn stop(self) {
        if let Some((front, _)) = self.before {
            front.stop().await;
        }
        self.scene.stop().await;
    }
}

/// A port that forwards, with a console.
fn settings(upstream: u16) -> String {
    format!(
        r#"
        [postgres]
        listen = ["127.0.0.1:0"]
        [admin]
        http = "off"
        users = ["{USER}"]
        [users.{USER}]
        password = "{PASSWORD}"
        [mongo]
        listen = ["127.0.0.1:0"]
        upstream = "mongodb://{USER}:{PASSWORD}@127.0.0.1:{upstream}/?maxPoolSize={POOL}"
        {LINES}
        "#
    )
}

/// Waits for what clients do side by side.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<Vec<T>> {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await??);
    }
    Ok(done)
}

async fn crowd(stage: &Stage) -> Result<()> {
    stage.scene.fill("c", CLIENTS).await?;
    stage.scene.fill("sums", CLIENTS).await?;
    for collection in ["d", "undone"] {
        let mut client = stage.scene.client().await?;
        let create = rawdoc! { "create": collection, "$db": "test" };
        client.run(&create).await?;
    }
    let repeated = Arc::<AtomicUsize>::default();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::new(number, stage.faced().1, &repeated).await?);
    }
    assert_eq!(stage.wing()?.clients().count(), clients.len());

    // All of them work at a time.
    let enough = AtomicBool::new(false);
    let working = async {
        let done = all(clients.into_iter().map(Client::work)).await;
        enough.store(true, Ordering::SeqCst);
        done
    };
    let (clients, ()) = tokio::try_join!(working, stage.watch(&enough))?;
    assert_eq!(repeated.load(Ordering::SeqCst), 0, "nothing was lost yet");

    // Upstream connections are killed under them.
    let killing = async {
        for _ in 0..KILLS {
            tokio::time::sleep(PAUSE).await;
            stage.kill().await?;
        }
        Ok(())
    };
    let working = all(clients.into_iter().map(Client::work));
    let (clients, ()) = tokio::try_join!(working, killing)?;
    let repeated = repeated.load(Ordering::SeqCst);
    ensure!(repeated > 0, "nobody has seen a connection die");
    assert_eq!(stage.wing()?.clients().count(), clients.len());

    // They leave, each in its way.
    let enough = AtomicBool::new(false);
    let leaving = async {
        let done = all(clients.into_iter().map(Client::leave)).await;
        enough.store(true, Ordering::SeqCst);
        done
    };
    tokio::try_join!(leaving, stage.watch(&enough))?;
    nothing_is_left(stage).await?;
    all_is_done_once(stage).await
}

async fn nothing_is_left(stage: &Stage) -> Result<()> {
    let running = stage.faced().0;
    is_at_rest(running).await?;
    let console = Console::of(running).await?;
    ensure!(console.clients().await?.is_empty());
    let scene = &stage.scene;
    if let Some((_, gauge)) = &stage.before {
        // The one that looks after the server.
        eventually("one monitor is left", async || Ok(gauge.monitors() == 1)).await?;
        ensure!(gauge.working() <= POOL);
        is_at_rest(&scene.running).await?;
        let clients = Console::of(&scene.running).await?.clients().await?;
        ensure!(clients.len() == gauge.working() + 1, "{clients:?}");
    }
    eventually("no file of a cursor is left", async || {
        Ok(scene.files().await? == 0)
    })
    .await?;
    eventually("nothing runs", async || Ok(scene.busy().await? == 0)).await?;
    stage.holds_few().await
}

/// Waits until a proxy has nothing open but idle connections, and its console says the same.
async fn is_at_rest(running: &Running) -> Result<()> {
    let wing = running.mongo_wing().context("no MongoDB port")?;
    eventually("no cursor is left", async || Ok(wing.cursors() == 0)).await?;
    eventually("no transaction is left", async || {
        Ok(wing.transactions() == 0)
    })
    .await?;
    let console = Console::of(running).await?;
    for what in ["CURSORS", "TRANSACTIONS"] {
        let rows = console.show(what).await?;
        ensure!(rows.is_empty(), "{what}: {rows:?}");
    }
    eventually("no connection is leased", async || {
        let pools = console.show("POOLS").await?;
        ensure!(!pools.is_empty());
        let busy = ["cl_waiting", "sv_active", "sv_login"];
        let at_rest = |row| busy.iter().all(|column| cell(row, column) == "0");
        Ok(pools.iter().all(at_rest))
    })
    .await?;
    for row in console.show("POOLS").await? {
        let idle: usize = cell(&row, "sv_idle").parse()?;
        ensure!(idle <= POOL, "{row:?}");
    }
    Ok(())
}

/// What was sent again was applied once, and what was not committed was not.
async fn all_is_done_once(stage: &Stage) -> Result<()> {
    let mut client = Raw::connect(stage.faced().1).await?;
    client.log_in(USER, PASSWORD).await?;
    let find = rawdoc! { "find": "sums", "batchSize": CLIENTS + 1, "$db": "test" };
    let answer = client.run(&find).await?;
    let sums = support::page(&answer)?;
    assert_eq!(sums.len(), usize::try_from(CLIENTS)?);
    for each in sums {
        let (number, sum) = (each.get_i32("_id")?, each.get_i32("v")?);
        assert_eq!(sum, number + client::TURNS, "{number}'s");
    }
    for (collection, count) in [("d", CLIENTS * client::TURNS), ("undone", 0)] {
        assert_eq!(stage.scene.count(collection).await?, count, "{collection}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stage = Stage::postgres().await?;
    crowd(&stage).await?;
    stage.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded() -> Result<()> {
    let _alone = ALONE.lock().await;
    let stage = Stage::forwarding().await?;
    crowd(&stage).await?;
    stage.stop().await;
    Ok(())
}
