//! What runs: the private server and the proxy before it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use serde_json::json;
use twinport::Running;
use twinport_config::Settings;
use twinport_embedded::Server;

use super::{Options, USUAL_MONGO_PORT, USUAL_PORT, library::Library};

/// Name and password of the one user: superuser of the private server, admin of the proxy.
pub(super) const USER: &str = "dev";
pub(super) const DATABASE: &str = "library";

pub(super) struct Stage {
    proxy: Running,
    database: Server,
    pub(super) port: u16,
    /// The port for MongoDB clients, or why there is none.
    mongo: Result<u16, String>,
    admin: SocketAddr,
}

impl Stage {
    pub(super) async fn start(options: &Options) -> anyhow::Result<Self> {
        let Library {
            server: database,
            collections,
        } = Library::open(options).await?;
        let port = choose_port(options.postgres_port, USUAL_PORT);
        let upstream = database.url_of(DATABASE);
        let mut text = settings(port, options.admin_port, &upstream);
        if collections.is_ok() {
            let port = choose_port(options.mongo_port, USUAL_MONGO_PORT);
            text.push_str(&mongo_settings(port, &upstream));
        }
        let settings = Settings::parse(&text, "settings of proxyctl dev")?;
        twinport::init_log(&settings.log);
        let proxy = twinport::start(settings).await?;
        let port = proxy
            .postgres
            .first()
            .context("the proxy does not listen")?
            .port();
        let mongo = match collections {
            Ok(()) => Ok(proxy
                .mongo
                .first()
                .context("the proxy does not listen for MongoDB clients")?
                .port()),
            Err(reason) => Err(reason),
        };
        let admin = proxy.admin.context("the proxy has no admin port")?;
        Ok(Self {
            proxy,
            database,
            port,
            mongo,
            admin,
        })
    }

    /// One line for scripts. `mongo` is null where there is no such port.
    pub(super) fn json(&self) -> String {
        json!({
            "postgres": self.url(DATABASE),
            "mongo": self.mongo_url().ok(),
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

    /// A connection string for MongoDB clients, or why there is none.
    pub(super) fn mongo_url(&self) -> Result<String, &str> {
        let port = self.mongo.as_ref().map_err(String::as_str)?;
        Ok(format!(
            "mongodb://{USER}:{USER}@127.0.0.1:{port}/{DATABASE}"
        ))
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

/// The wanted port; else the usual one if nobody has it.
fn choose_port(wanted: Option<u16>, usual: u16) -> u16 {
    wanted.unwrap_or_else(|| {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).is_ok();
        if free { usual } else { 0 }
    })
}

fn settings(port: u16, admin_port: u16, upstream: &str) -> String {
    format!(
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
    )
}

/// With the same upstream as the tables, so that both ports share its pool.
fn mongo_settings(port: u16, upstream: &str) -> String {
    format!(
        r#"
[mongo]
listen = ["127.0.0.1:{port}"]
upstream = "{upstream}"

[mongo.relations.authors.books]
target = "books"
kind = "many"
foreign = "author_id"

[mongo.relations.publishers.books]
target = "books"
kind = "many"
foreign = "publisher_id"

[mongo.relations.books.author]
target = "authors"
kind = "one"
local = "author_id"

[mongo.relations.books.publisher]
target = "publishers"
kind = "one"
local = "publisher_id"

[mongo.relations.books.tags]
target = "tags"
kind = "many"
local = "tag_ids"
"#
    )
}
