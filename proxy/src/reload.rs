//! New settings while running: on SIGHUP, on RELOAD, and when the file changes.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use twinport_config::{Overrides, Settings};
use twinport_core::drain::Drain;

use crate::running::Wings;

/// Where the settings came from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: Option<PathBuf>,
    /// Flags, which stand above it.
    pub flags: Overrides,
}

/// An editor writes a file in several steps: wait for the last.
const SETTLE: Duration = Duration::from_millis(200);

/// Applies new settings and says what has to wait for a restart.
pub(crate) fn apply(wings: &Wings, settings: Settings) -> anyhow::Result<()> {
    let diff = twinport_config::diff(&wings.postgres.settings(), &settings);
    if let Some(mongo) = &wings.mongo {
        mongo.reload(settings.clone())?;
    }
    wings.postgres.reload(settings)?;
    for change in &diff.changes {
        tracing::info!(key = change.key, "setting changed");
    }
    for change in diff.needs_restart() {
        tracing::warn!(key = change.key, "this change waits for a restart");
    }
    Ok(())
}

/// Watches until drain begins.
pub(crate) async fn watch(wings: Wings, source: Source, drain: Drain) {
    let (sender, mut changed) = mpsc::channel(1);
    let _watcher = source
        .path
        .as_ref()
        .and_then(|path| watch_file(path, sender.clone()));
    let mut hangup = signal(SignalKind::hangup()).ok();
    let draining = drain.draining();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            () = &mut draining => return,
            Some(()) = changed.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changed.try_recv().is_ok() {}
            }
            Some(()) = async { hangup.as_mut()?.recv().await } => {}
            () = wings.postgres.reload_requested() => {}
        }
        match Settings::load(
            source.path.as_deref(),
            twinport_config::environment(),
            &source.flags,
        ) {
            Err(errors) => tracing::error!("the settings stay as they were:\n{errors}"),
            Ok(settings) => match apply(&wings, settings) {
                Err(error) => tracing::error!(%error, "the settings stay as they were"),
                Ok(()) => tracing::info!("settings reloaded"),
            },
        }
    }
}

/// Watches the file's folder, because an editor puts a new file in its place.
fn watch_file(
    path: &std::path::Path,
    sender: mpsc::Sender<()>,
) -> Option<notify::RecommendedWatcher> {
    let path = path.canonicalize().ok()?;
    let dir = path.parent()?.to_owned();
    let watched = path.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours =
            event.is_ok_and(|event| !event.kind.is_access() && event.paths.contains(&watched));
        if ours {
            // One notice that waits stands for all.
            let _ = sender.try_send(());
        }
    });
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the file isn't watched; SIGHUP still reloads it");
            None
        }
    }
}
