//! A running server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use twinport_config::Settings;
use twinport_core::drain::Drain;
use twinport_core::listen::Listener;
use twinport_core::view::View;
use twinport_mongo::wing::Wing as MongoWing;
use twinport_pg::inward::Inward;
use twinport_pg::wing::Wing;

use crate::{http, reload};

/// A server that accepts clients until it is stopped.
pub struct Running {
    /// The addresses of the Postgres port, as they really are.
    pub postgres: Vec<SocketAddr>,
    /// The addresses of the MongoDB port, as they really are; none if there is no such port.
    pub mongo: Vec<SocketAddr>,
    /// The address of the admin HTTP port.
    pub admin: Option<SocketAddr>,
    wings: Wings,
    drain: Drain,
    tasks: Vec<JoinHandle<()>>,
}

/// The ports' wings.
#[derive(Clone)]
pub(crate) struct Wings {
    pub(crate) postgres: Arc<Wing>,
    pub(crate) mongo: Option<Arc<MongoWing>>,
}

impl Wings {
    fn new(settings: Settings, drain: &Drain) -> anyhow::Result<Self> {
        let postgres =
            Wing::new(settings.clone(), drain.clone()).context("cannot start the Postgres port")?;
        let gateway = Arc::new(Inward::new(
            Arc::clone(&postgres),
            twinport_mongo::upstream::SETTINGS,
        ));
        let mongo = MongoWing::new(settings, gateway, drain.clone())
            .context("cannot start the MongoDB port")?;
        if let Some(mongo) = &mongo {
            let view: Arc<dyn View> = mongo.clone();
            postgres.show_also(Arc::downgrade(&view));
        }
        Ok(Self { postgres, mongo })
    }
}

/// Starts the server: listens on all addresses, or fails without having served anybody.
///
/// # Errors
/// When an address can't be listened on or a certificate can't be read.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let drain = Drain::new();
    let mut listeners = Vec::new();
    let mut postgres = Vec::new();
    for &address in &settings.postgres.listen {
        let listener = Listener::tcp(address)
            .with_context(|| format!("cannot listen on {address} (postgres.listen)"))?;
        postgres.extend(listener.address());
        listeners.push(listener);
    }
    if let Some(dir) = &settings.postgres.unix_socket_dir {
        let path = socket_path(dir, postgres.first().map_or(6432, SocketAddr::port));
        let listener = Listener::unix(&path).with_context(|| {
            format!(
                "cannot listen on {} (postgres.unix_socket_dir)",
                path.display()
            )
        })?;
        listeners.push(listener);
    }
    let mut mongo_listeners = Vec::new();
    let mut mongo = Vec::new();
    for &address in settings.mongo.iter().flat_map(|mongo| &mongo.listen) {
        let listener = Listener::tcp(address)
            .with_context(|| format!("cannot listen on {address} (mongo.listen)"))?;
        mongo.extend(listener.address());
        mongo_listeners.push(listener);
    }
    let http = settings.admin.http;
    let wings = Wings::new(settings, &drain)?;
    let wing = &wings.postgres;
    let mut tasks = Vec::new();
    let admin = match http {
        Some(address) => {
            let (address, task) = http::serve(address, wings.clone(), drain.clone()).await?;
            tasks.push(task);
            Some(address)
        }
        None => None,
    };
    for listener in listeners {
        let serving = Arc::clone(wing);
        let accepting = listener.run(drain.clone(), move |stream| serving.serve(stream));
        tasks.push(tokio::spawn(accepting));
    }
    for (listener, wing) in mongo_listeners
        .into_iter()
        .zip(std::iter::repeat(&wings.mongo))
    {
        if let Some(serving) = wing.clone() {
            let accepting = listener.run(drain.clone(), move |stream| serving.serve(stream));
            tasks.push(tokio::spawn(accepting));
        }
    }
    tracing::info!(?postgres, ?mongo, ?admin, "ready");
    Ok(Running {
        postgres,
        mongo,
        admin,
        wings,
        drain,
        tasks,
    })
}

fn socket_path(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

impl Running {
    /// The Postgres wing.
    pub fn wing(&self) -> &Arc<Wing> {
        &self.wings.postgres
    }

    /// The Mongo wing, if there is a MongoDB port.
    pub fn mongo_wing(&self) -> Option<&Arc<MongoWing>> {
        self.wings.mongo.as_ref()
    }

    /// Takes new settings while running.
    ///
    /// # Errors
    /// When a certificate can't be read; then nothing has changed.
    pub fn reload(&self, settings: Settings) -> anyhow::Result<()> {
        reload::apply(&self.wings, settings)
    }

    /// Reloads the settings when the process gets SIGHUP, an admin says RELOAD, or the file changes.
    pub fn watch(&mut self, source: reload::Source) {
        let watching = reload::watch(self.wings.clone(), source, self.drain.clone());
        self.tasks.push(tokio::spawn(watching));
    }

    /// Ready when an admin has said SHUTDOWN.
    pub async fn shutdown_requested(&self) {
        self.wings.postgres.shutdown_requested().await;
    }

    /// The handle by which what still runs can be ended at once.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Accepts nobody any more, lets what runs finish within `bound`, then closes everything.
    /// True if all finished by themselves.
    pub async fn finish(self, bound: Duration) -> bool {
        let in_time = self.drain.finish(bound).await;
        if let Some(mongo) = &self.wings.mongo {
            mongo.close().await;
        }
        self.wings.postgres.close();
        for task in self.tasks {
            task.abort();
            drop(task.await);
        }
        in_time
    }

    /// Stops: what runs gets `shutdown_timeout` to finish.
    pub async fn stop(self) {
        let bound = self.wings.postgres.settings().shutdown_timeout;
        self.finish(bound).await;
    }
}

/// The runtime for `workers` threads; one thread runs everything with the least overhead.
///
/// # Errors
/// When the system has no threads or file descriptors left.
pub fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if workers <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder
        .worker_threads(workers.max(1))
        .thread_name("twinport")
        .enable_all()
        .build()
}
