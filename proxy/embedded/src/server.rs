//! A private server: start, look, break, restart, stop.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use tokio_postgres::{Client, NoTls};

use crate::{
    account::Account,
    certificate::Authority,
    error::{Error, Kind},
    finder::{Installation, Version},
    layout::Layout,
    options::Options,
    process::Process,
    template, url,
};

/// Free ports can be taken between our look and the server's; more than a few times in a row
/// means that something else is wrong.
const PORT_ATTEMPTS: usize = 10;

/// A private Postgres server. Dropping it stops the server (blocking for a moment) and removes
/// what was temporary; if the whole process is killed, a watchdog does the same.
#[derive(Debug)]
pub struct Server {
    // Dropped before the folders that it works in.
    process: Option<Process>,
    layout: Layout,
    installation: Installation,
    account: Account,
    options: Options,
    authority: Option<Authority>,
    port: u16,
}

impl Server {
    /// Finds a Postgres, makes the data folder if there is none, starts the server and waits
    /// until it takes connections.
    ///
    /// # Errors
    /// `is_not_found` with what to install; else what `initdb` or the server's log says.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let account = Account::choose()?;
        let layout = Layout::make(&options, &account)?;
        let cluster = layout.cluster();
        let installation = options.finder.find(options.major.or(cluster))?;
        if cluster.is_none() {
            template::fill(&layout.data, &installation, &account, &options).await?;
        }
        let authority = options
            .tls
            .then(|| Authority::new("Twinport private authority"))
            .transpose()?;
        let mut server = Self {
            process: None,
            layout,
            installation,
            account,
            options,
            authority,
            port: 0,
        };
        server.write_certificates()?;
        server.launch_somewhere().await?;
        Ok(server)
    }

    /// The connection string of the superuser, to the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The connection string of the superuser, to this database.
    pub fn url_of(&self, database: &str) -> String {
        url::url(
            &self.options.superuser,
            &self.options.password,
            self.port,
            database,
        )
    }

    /// The port on 127.0.0.1. It stays the same over [`restart`](Self::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.layout.sockets
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.layout.data
    }

    /// Where the server writes its log.
    pub fn log(&self) -> PathBuf {
        self.layout.log()
    }

    /// What the server was started from.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &str {
        &self.options.superuser
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.options.password
    }

    /// Who signed the server's certificate and whom it trusts to sign clients'; only with TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The pid of the main server process, unless it was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// A connection without TLS as the superuser, driven by a task of its own.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn client(&self, database: &str) -> Result<Client, Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user(&self.options.superuser)
            .password(&self.options.password)
            .dbname(database)
            .connect(NoTls)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the private server ended");
            }
        });
        Ok(client)
    }

    /// Stops the server: clients are cut off, data is written. It can be started again by
    /// [`restart`](Self::restart).
    ///
    /// # Errors
    /// When it is not running.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.process.take().ok_or(Kind::Stopped)?.stop().await;
        Ok(())
    }

    /// Kills the server and all its backends with SIGKILL.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill9(&mut self) -> Result<(), Error> {
        self.process.take().ok_or(Kind::Stopped)?.kill();
        Ok(())
    }

    /// Stops the server if it runs, and starts it on the same port and data.
    ///
    /// # Errors
    /// What the server's log says.
    pub async fn restart(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
        self.launch(self.port).await
    }

    /// Changes a setting for the next [`reload`](Self::reload) or [`restart`](Self::restart).
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.options.settings.push((name.into(), value.into()));
    }

    /// Replaces the lines that go before ours in `pg_hba.conf`, at the next
    /// [`reload`](Self::reload) or [`restart`](Self::restart).
    pub fn set_hba(&mut self, lines: Vec<String>) {
        self.options.hba = lines;
    }

    /// Writes the settings and has the server read them. It does so a moment later.
    ///
    /// # Errors
    /// When it is not running, or the files can't be written.
    pub fn reload(&self) -> Result<(), Error> {
        let process = self.process.as_ref().ok_or(Kind::Stopped)?;
        self.write_settings(self.port)?;
        process.signal(Signal::SIGHUP);
        Ok(())
    }

    async fn launch_somewhere(&mut self) -> Result<(), Error> {
        if let Some(port) = self.options.port {
            return self.launch(port).await;
        }
        let mut attempt = 1;
        loop {
            match self.launch(free_port()?).await {
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn launch(&mut self, port: u16) -> Result<(), Error> {
        let config = self.write_settings(port)?;
        let process =
            Process::start(&self.installation, &self.account, &self.layout, &config).await?;
        self.process = Some(process);
        self.port = port;
        Ok(())
    }

    /// Writes a configuration file that includes the folder's own, and `pg_hba.conf`'s stand-in,
    /// so that a folder of the user's keeps its files as they are.
    fn write_settings(&self, port: u16) -> Result<PathBuf, Error> {
        let data = &self.layout.data;
        let hba = data.join("twinport_hba.conf");
        self.account.write(&hba, &self.hba_text())?;
        let config = data.join("twinport.conf");
        self.account.write(&config, &self.config_text(port, &hba))?;
        Ok(config)
    }

    fn config_text(&self, port: u16, hba: &Path) -> String {
        let port = port.to_string();
        let (hba, sockets) = (hba.to_string_lossy(), self.layout.sockets.to_string_lossy());
        let mut settings = vec![
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &sockets),
            ("hba_file", &hba),
            ("wal_level", "logical"),
            ("cluster_name", "twinport"),
            ("log_destination", "stderr"),
            ("logging_collector", "off"),
        ];
        if self.options.unsafe_fast {
            let safety = ["fsync", "synchronous_commit", "full_page_writes"];
            settings.extend(safety.map(|name| (name, "off")));
        }
        if self.options.tls {
            settings.extend([("ssl", "on"), ("ssl_ca_file", "root.crt")]);
        }
        // The extension connects to its own server when it makes a collection, and by pg_cron when
        // it builds an index.
        let own_server = format!("host={sockets}");
        if let Some(database) = &self.options.documentdb {
            settings.extend([
                (
                    "shared_preload_libraries",
                    "pg_cron,pg_documentdb_core,pg_documentdb",
                ),
                ("cron.database_name", database),
                ("cron.host", &sockets),
                ("documentdb.localhost_connection_string", &own_server),
                // As long as the proxy keeps cursors: MongoDB's ten minutes.
                ("documentdb.defaultcursorexpirytimelimitseconds", "600"),
            ]);
        }
        settings.extend(
            self.options
                .settings
                .iter()
                .map(|(name, value)| (&**name, &**value)),
        );
        let mut text = String::from("include_if_exists 'postgresql.conf'\n");
        for (name, value) in settings {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name} = '{value}'");
        }
        text
    }

    fn hba_text(&self) -> String {
        let method = self.options.auth.method();
        let mut text = String::new();
        for line in &self.options.hba {
            let _ = writeln!(text, "{line}");
        }
        if self.options.documentdb.is_some() {
            text.push_str("local all all trust\n");
        }
        for database in ["all", "replication"] {
            let _ = writeln!(text, "local {database} all {method}");
            let _ = writeln!(text, "host {database} all 127.0.0.1/32 {method}");
        }
        text
    }

    /// Under the names that Postgres looks for by default.
    fn write_certificates(&self) -> Result<(), Error> {
        let Some(authority) = &self.authority else {
            return Ok(());
        };
        let identity = authority.server(&["localhost", "127.0.0.1"])?;
        let files = [
            ("root.crt", authority.pem()),
            ("server.crt", &identity.certificate),
            ("server.key", &identity.key),
        ];
        for (name, text) in files {
            self.account.write(&self.layout.data.join(name), text)?;
        }
        Ok(())
    }
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| Ok(listener.local_addr()?.port()))
        .map_err(Error::io("no free port on 127.0.0.1"))
}
