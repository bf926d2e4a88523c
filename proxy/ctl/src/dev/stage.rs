//! What runs: the private server and the proxy before it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use serde_json::json;
use twinport::Running;
use twinport_config::Settings;
use twinport_embedded::Server;

use super::{Options, USUAL_PORT};

const SAMPLE: &str = include_str!("../../sample/library.sql");
/// Name and password of the one user: superuser of the private server, admin of the proxy.
pub(super) const USER: &str = "dev";
pub(super) const DATABASE: &str = "library";

pub(super) struct Stage {
    proxy: Running,
    database: Server,
    pub(super) port: u16,
    admin: SocketAddr,
}

impl Stage {
    pub(super) async fn start(options: &Options) -> anyhow::Result<Self> {
        let database = start_database(options).await?;
        load_sample(&database)
            .await
            .context("cannot load the sample schema")?;
        let port = choose_port(options.postgres_port);
        let settings = settings(port, options.admin_port, &database.url_of(DATABASE))?;
        twinport::init_log(&settings.log);
        let proxy = twinport::start(settings).await?;
        let port = proxy
            .postgres
            .first()
            .context("the proxy does not listen")?
            .port();
        let admin = proxy.admin.context("the proxy has no admin port")?;
        Ok(Self {
            proxy,
            database,
            port,
            admin,
        })
    }

    /// One line for scripts. `mongo` has no port yet.
    pub(super) fn json(&self) -> String {
        json!({
            "postgres": self.url(DATABASE),
            "mongo": null,
            "admin": self.admin_url(),
            "database": self.database_url(),
        })
        .to_string()
    }

    /// A connection string through the proxy.
    pub(super) fn url(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{USER}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The connection string past the proxy.
    pub(super) fn database_url(&self) -> String {
        self.database.url_of(DATABASE)
    }

    pub(super) fn database(&self) -> &Server {
        &self.database
    }

    pub(super) async fn shutdown_requested(&self) {
        self.proxy.shutdown_requested().await;
    }

    /// Ends the proxy, then the server.
    pub(super) async fn stop(mut self) {
        self.proxy.stop().await;
        // An error would say that it runs no more.
        let _ = self.database.stop().await;
    }
}

async fn start_database(options: &Options) -> anyhow::Result<Server> {
    let wanted = twinport_embedded::Options {
        major: options.postgres_version,
        data: options.data.clone(),
        port: options.database_port,
        superuser: USER.into(),
        password: USER.into(),
        ..twinport_embedded::Options::default()
    };
    Ok(Server::start(wanted).await?)
}

/// A kept folder has the database from before, with whatever was done to it.
async fn load_sample(server: &Server) -> anyhow::Result<()> {
    let client = server.client("postgres").await?;
    let known = client
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await?;
    if known.is_some() {
        return Ok(());
    }
    client
        .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
        .await?;
    server.client(DATABASE).await?.batch_execute(SAMPLE).await?;
    Ok(())
}

/// The wanted port; else the usual one if nobody has it.
fn choose_port(wanted: Option<u16>) -> u16 {
    wanted.unwrap_or_else(|| {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).is_ok();
        if free { USUAL_PORT } else { 0 }
    })
}

fn settings(port: u16, admin_port: u16, upstream: &str) -> anyhow::Result<Settings> {
    let text = format!(
        r#"
shutdown_timeout = "2s"

[postgres]
listen = ["127.0.0.1:{port}"]

[databases.{DATABASE}]
url = "{upstream}"

[users.{USER}]
password = "{USER}"
admin = true

[admin]
http = "127.0.0.1:{admin_port}"

[log]
level = "warn"
"#
    );
    Ok(Settings::parse(&text, "settings of proxyctl dev")?)
}
