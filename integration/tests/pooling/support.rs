//! A world with a proxy in front of it, as the tests of the pool want it.

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Connection, NoTls, Socket, tls::NoTlsStream};
use twinport_integration::{OPERATOR, Port, USER, World, cut_after};

use super::raw::Raw;

/// A server, a proxy before it, and a client that looks at the server from behind.
pub(crate) struct Scene {
    // Before the world, whose server would wait for it.
    port: Port,
    /// A superuser, straight to the server.
    pub(crate) admin: Client,
    /// The server.
    pub(crate) world: World,
}

impl Scene {
    pub(crate) async fn new(pool: usize) -> Result<Self> {
        Self::with(pool, "").await
    }

    /// With further lines in `[pool]`.
    pub(crate) async fn with(pool: usize, lines: &str) -> Result<Self> {
        Self::on(15, pool, lines).await
    }

    /// On a server of this version.
    pub(crate) async fn on(major: u32, pool: usize, lines: &str) -> Result<Self> {
        let world = World::start(major).await?;
        let port = Port::trusting(&world, pool, lines).await?;
        let admin = world.server.client("library").await?;
        Ok(Self { port, admin, world })
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port.address.port)
            .user(USER)
            .dbname("library");
        config
    }

    /// A client through the port, driven by a task of its own.
    pub(crate) async fn client(&self) -> Result<Client> {
        let (client, connection) = self.parted().await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A client through the port, and the connection that someone must drive.
    pub(crate) async fn parted(&self) -> Result<(Client, Connection<Socket, NoTlsStream>)> {
        Ok(self.config().connect(NoTls).await?)
    }

    /// A client that sends what it is told.
    pub(crate) async fn raw(&self) -> Result<Raw> {
        Raw::connect(self.port.address.port, USER, "library").await
    }

    /// The same, with settings in its startup message.
    pub(crate) async fn raw_with(&self, options: &str) -> Result<Raw> {
        let words = ["user", USER, "database", "library", "options", options];
        Raw::asking(self.port.address.port, &words).await
    }

    /// Ends the server's processes that run, or last ran, a statement that holds this word.
    pub(crate) async fn terminate(&self, word: &str) -> Result<()> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE pid <> pg_backend_pid() AND usename = $1 AND query LIKE '%' || $2 || '%'";
        self.admin.query(sql, &[&USER, &word]).await?;
        Ok(())
    }

    /// Has the proxy open its connections anew, as an operator would.
    pub(crate) async fn reconnect(&self) -> Result<()> {
        let mut console = Raw::connect(self.port.address.port, OPERATOR, "twinport").await?;
        console.query("RECONNECT library").answer().await?;
        Ok(())
    }

    /// A client whose socket is cut when it has sent this many bytes.
    pub(crate) async fn cut_after(&self, limit: usize) -> Result<(Client, JoinHandle<()>)> {
        let near = cut_after(self.port.address.port, limit).await?;
        let (client, connection) = self.config().connect_raw(near, NoTls).await?;
        let driven = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok((client, driven))
    }

    /// How many clients wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        let pools = self.port.running.wing().pools().list();
        pools.iter().map(|(_, pool)| pool.census().waiting).sum()
    }

    /// Ends the proxy, which waits for a second; what is left of the scene.
    pub(crate) async fn stop(self) -> (Client, World) {
        self.port.stop().await;
        (self.admin, self.world)
    }

    /// How many clients the proxy serves.
    pub(crate) fn clients(&self) -> usize {
        self.port.running.wing().clients().count()
    }

    /// Why clients keep their connections.
    pub(crate) fn pins(&self) -> Vec<String> {
        let clients = self.port.running.wing().clients().list();
        let pins = clients.iter().filter_map(|client| client.pin());
        pins.map(|reason| reason.to_string()).collect()
    }

    /// How many statements that hold this word run on the server.
    pub(crate) async fn running(&self, word: &str) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%' || $1 || '%'";
        Ok(self.admin.query_one(sql, &[&word]).await?.get(0))
    }

    /// How many connections the proxy holds to the server; one more may be its own, for the catalog.
    pub(crate) async fn upstream(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        Ok(self.admin.query_one(sql, &[&USER]).await?.get(0))
    }
}

/// Each test on the oldest and the newest supported server.
#[allow(unused_macros, reason = "the tests of leaks do without")]
macro_rules! on_both {
    ($($name:ident,)*) => {
        $(mod $name {
            #[tokio::test]
            async fn on_15() -> anyhow::Result<()> {
                super::$name(15).await
            }

            #[tokio::test]
            async fn on_18() -> anyhow::Result<()> {
                super::$name(18).await
            }
        })*
    };
}
#[allow(unused_imports, reason = "the tests of leaks do without")]
pub(crate) use on_both;

/// The SQLSTATE of what must be the server's error, or why there is none.
pub(crate) fn code<T>(result: &Result<T, tokio_postgres::Error>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error
            .code()
            .map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}
