//! What is known of each database's schema, loaded when a statement needs it, and again when it changed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use orm_schema::Catalog;
use parking_lot::Mutex;
use twinport_migrations::introspect;
use twinport_migrations::introspect::pg::{Trace, Traces};
use twinport_rewriter::scan::{Effects, NameSet, Names, custom_names};

use crate::fault::Fault;
use crate::pools::{Backend, PgPool};
use crate::wing::Wing;

static NEXT_VERSION: AtomicU64 = AtomicU64::new(1);

/// A catalog that was loaded.
pub struct Loaded {
    /// Never used twice, so that what was made of another version is not found.
    pub version: u64,
    /// The schema.
    pub catalog: Catalog,
    fingerprint: u64,
}

/// What the names of a database's functions and relations say of what a statement leaves behind.
pub struct Known {
    /// Never used twice.
    pub version: u64,
    /// The names.
    pub names: Names,
    /// Custom settings that functions or views set.
    pub settings: Vec<String>,
    /// The server's own names, and its version.
    builtin: (Arc<NameSet>, i32),
    /// The state of the schema that it was read in, as [`Entry::epoch`] counts.
    epoch: AtomicU64,
    fingerprint: u64,
}

/// One database's catalog.
#[derive(Default)]
pub struct Entry {
    loaded: ArcSwapOption<Loaded>,
    stale: AtomicBool,
    used: AtomicBool,
    loading: tokio::sync::Mutex<()>,
    known: ArcSwapOption<Known>,
    /// Counts whatever may have changed the schema.
    epoch: AtomicU64,
    /// Looks for changes since a statement was last judged.
    unused: AtomicU32,
    learning: tokio::sync::Mutex<()>,
    pauses: Mutex<Pauses>,
}

/// Until when it is not tried again to learn it: what could not be read, and what has just been read.
#[derive(Clone, Copy, Default)]
struct Pauses {
    failed: Option<Instant>,
    rests: Option<Instant>,
}

/// After so many looks for changes without a statement it is not looked any more: the next statement waits for it.
const UNUSED: u32 = 12;

/// So long it is not tried again to learn what could not be read, at most.
const PAUSE: Duration = Duration::from_secs(5);

/// So many times as long as it took to learn, it is not learned anew: a migration of a thousand statements would wait
/// a thousand times. Meanwhile the server is asked after every transaction.
const REST: u32 = 10;

/// How long reading it may take.
const BOUND: Duration = Duration::from_secs(20);

impl Entry {
    /// The catalog, unless it is known to be out of date.
    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.used.store(true, Ordering::Relaxed);
        if self.stale.load(Ordering::Acquire) {
            return None;
        }
        self.loaded.load_full()
    }

    /// What is known of the names, unless the schema may have changed since it was read.
    pub fn known(&self) -> Option<Arc<Known>> {
        let known = self.known.load();
        let known = known.as_ref()?;
        if known.epoch.load(Ordering::Acquire) != self.epoch.load(Ordering::Acquire) {
            return None;
        }
        if self.unused.load(Ordering::Relaxed) != 0 {
            self.unused.store(0, Ordering::Relaxed);
        }
        Some(Arc::clone(known))
    }

    /// Whether anything is known of the names.
    pub fn is_known(&self) -> bool {
        let known = self.known.load();
        let epoch = known
            .as_ref()
            .map(|known| known.epoch.load(Ordering::Acquire));
        epoch == Some(self.epoch.load(Ordering::Acquire))
    }

    /// Whether it can be tried to learn what isn't known; at once, or in its time.
    pub fn can_learn(&self, at_once: bool) -> bool {
        let Pauses { failed, rests } = *self.pauses.lock();
        let pauses = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        !pauses(failed) && (at_once || !pauses(rests))
    }

    fn schema_changed(&self) {
        self.stale.store(true, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// All databases' catalogs.
#[derive(Default)]
pub struct Catalogs {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    /// The names of servers of each version.
    builtin: Mutex<Vec<Weak<NameSet>>>,
}

/// So many custom settings are asked for because some function sets them.
const MOST_SETTINGS: usize = 256;

impl Catalogs {
    /// The entry of a database, by the name of its settings.
    pub fn entry(&self, database: &str) -> Arc<Entry> {
        Arc::clone(self.entries.lock().entry(database.to_owned()).or_default())
    }

    /// Notes that a statement seen here changed the schema.
    pub fn schema_changed(&self, backend: &Backend) {
        backend.catalog.schema_changed();
    }

    /// Loads the catalog if it isn't there or is out of date; one at a time for each database.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn load(&self, wing: &Arc<Wing>, pool: &Arc<PgPool>) -> Result<(), Fault> {
        let entry = Arc::clone(&pool.connector().catalog);
        let _one = entry.loading.lock().await;
        if entry.current().is_some() {
            return Ok(());
        }
        // Before the question is asked: a change in the meantime makes it stale again.
        entry.stale.store(false, Ordering::Release);
        let loaded = read(wing, pool).await;
        match loaded {
            Ok(loaded) => {
                tracing::info!(database = pool.connector().database(), "catalog loaded");
                entry.loaded.store(Some(Arc::new(loaded)));
                Ok(())
            }
            Err(error) => {
                entry.stale.store(true, Ordering::Release);
                Err(Fault::error(
                    "08006",
                    format_args!("the schema can't be read: {}", describe(&*error)),
                ))
            }
        }
    }

    /// Learns which functions and relations leave something behind, if that isn't known; one at a time for each
    /// database. If it can't be read, every statement counts as one that does, until the next try.
    pub async fn learn(&self, wing: &Arc<Wing>, pool: &Arc<PgPool>) {
        let entry = Arc::clone(&pool.connector().catalog);
        let _one = entry.learning.lock().await;
        if entry.is_known() || !entry.can_learn(true) {
            return;
        }
        // Before the question is asked: after a change in the meantime it is not known any more.
        let epoch = entry.epoch.load(Ordering::Acquire);
        let before = entry.known.load_full();
        let began = Instant::now();
        let read = tokio::time::timeout(BOUND, read_traces(wing, pool, before.as_deref()));
        let failure = match read.await {
            Ok(Ok(None)) => {
                if let Some(before) = before {
                    before.epoch.store(epoch, Ordering::Release);
                }
                None
            }
            Ok(Ok(Some((fingerprint, traces)))) => {
                let known = self.known(traces, fingerprint, epoch, before.as_deref());
                entry.known.store(Some(Arc::new(known)));
                None
            }
            Ok(Err(error)) => Some(describe(&*error)),
            Err(_) => Some(format!("no answer within {BOUND:?}")),
        };
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        *entry.pauses.lock() = Pauses {
            failed: failure.as_ref().map(|_| now + PAUSE),
            rests: Some(now + PAUSE.min(REST * took)),
        };
        if let Some(reason) = failure {
            tracing::warn!(
                database = pool.connector().database(),
                reason,
                "cannot read what functions leave behind: the server is asked after every transaction"
            );
        }
    }

    fn known(&self, traces: Traces, fingerprint: u64, epoch: u64, before: Option<&Known>) -> Known {
        let mut settings = Vec::new();
        let mut more = Effects::NONE;
        for text in &traces.texts {
            let found = custom_names(text.as_bytes());
            if found.more {
                more = Effects::OPAQUE;
            }
            settings.extend(found.names);
        }
        settings.sort_unstable();
        settings.dedup();
        if settings.len() > MOST_SETTINGS {
            settings.truncate(MOST_SETTINGS);
            more = Effects::OPAQUE;
        }
        let stateful = traces
            .stateful
            .into_iter()
            .map(|(name, trace)| (name, effects(trace) | more));
        let builtin = match (traces.builtin, before) {
            (None, Some(before)) => Arc::clone(&before.builtin.0),
            (names, _) => self.one_builtin(
                names
                    .iter()
                    .flatten()
                    .map(|name| name.to_ascii_lowercase().into_bytes().into())
                    .collect(),
            ),
        };
        Known {
            version: NEXT_VERSION.fetch_add(1, Ordering::Relaxed),
            names: Names::new(
                Arc::clone(&builtin),
                traces.harmless,
                stateful,
                effects(traces.everywhere),
            ),
            settings,
            builtin: (builtin, traces.version),
            epoch: AtomicU64::new(epoch),
            fingerprint,
        }
    }

    /// Servers of one version have the same names: they are held once.
    fn one_builtin(&self, builtin: NameSet) -> Arc<NameSet> {
        let mut held = self.builtin.lock();
        held.retain(|names| names.strong_count() > 0);
        let same = held.iter().filter_map(Weak::upgrade);
        if let Some(same) = same.into_iter().find(|names| **names == builtin) {
            return same;
        }
        let builtin = Arc::new(builtin);
        held.push(Arc::downgrade(&builtin));
        builtin
    }

    /// Forgets the catalogs of databases that have no pool any more.
    pub fn forget_unused(&self) {
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| Arc::strong_count(entry) > 1);
    }

    /// Looks whether schemas changed by others, for those catalogs that were used since the last look.
    pub async fn look_for_changes(&self, wing: &Arc<Wing>, pools: Vec<Arc<PgPool>>) {
        let mut seen = HashSet::new();
        for pool in pools {
            let backend = pool.connector();
            if !seen.insert(backend.database().to_owned()) {
                continue;
            }
            let entry = &backend.catalog;
            let loaded = entry.loaded.load_full();
            let loaded = loaded.filter(|_| entry.used.swap(false, Ordering::Relaxed));
            let known = entry.known.load_full();
            let known = known.filter(|_| {
                let used = entry.unused.fetch_add(1, Ordering::Relaxed) < UNUSED;
                if !used {
                    entry.epoch.fetch_add(1, Ordering::AcqRel);
                    entry.known.store(None);
                }
                used
            });
            if loaded.is_none() && known.is_none() {
                continue;
            }
            let looked = async {
                let client = wing.control(&pool).await?;
                let mut changed = false;
                if let Some(loaded) = loaded {
                    changed |= introspect::pg::fingerprint(&*client).await? != loaded.fingerprint;
                }
                if let Some(known) = known {
                    let now = introspect::pg::traces_fingerprint(&*client).await?;
                    changed |= now != known.fingerprint;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(changed)
            };
            match looked.await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(
                        database = backend.database(),
                        "the schema was changed elsewhere"
                    );
                    entry.schema_changed();
                }
                Err(error) => {
                    tracing::debug!(error = describe(&*error), "cannot look for schema changes");
                }
            }
        }
    }
}

/// What a trace means for the statement that leaves it.
fn effects(trace: Trace) -> Effects {
    let flags = [
        (Trace::SESSION, Effects::SETTINGS | Effects::STATE),
        (Trace::UNTOLD, Effects::UNTOLD),
        (Trace::OPAQUE, Effects::OPAQUE),
        (Trace::SCHEMA, Effects::DDL),
        (Trace::HIDDEN, Effects::HIDDEN),
    ];
    let found = flags.into_iter().filter(|(flag, _)| trace.contains(*flag));
    found.fold(Effects::NONE, |all, (_, effects)| all | effects)
}

/// Reads what leaves something behind, unless it is what it was.
async fn read_traces(
    wing: &Arc<Wing>,
    pool: &Arc<PgPool>,
    before: Option<&Known>,
) -> Result<Option<(u64, Traces)>, Box<dyn std::error::Error + Send + Sync>> {
    let client = wing.control(pool).await?;
    let fingerprint = introspect::pg::traces_fingerprint(&*client).await?;
    if before.is_some_and(|before| before.fingerprint == fingerprint) {
        return Ok(None);
    }
    let version = before.map(|before| before.builtin.1);
    let traces = introspect::pg::session_traces(&*client, version).await?;
    Ok(Some((fingerprint, traces)))
}

async fn read(
    wing: &Arc<Wing>,
    pool: &Arc<PgPool>,
) -> Result<Loaded, Box<dyn std::error::Error + Send + Sync>> {
    let client = wing.control(pool).await?;
    let fingerprint = introspect::pg::fingerprint(&*client).await?;
    let catalog = introspect::pg::introspect(&*client).await?;
    Ok(Loaded {
        version: NEXT_VERSION.fetch_add(1, Ordering::Relaxed),
        catalog,
        fingerprint,
    })
}

/// An error with what caused it: tokio-postgres keeps the server's words there.
fn describe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
