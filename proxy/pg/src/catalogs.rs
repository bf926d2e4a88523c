//! What is known of each database's schema, loaded when a statement needs it, and again when it changed.

mod learned;

pub use learned::{EndOfLearning, Known, Learned};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use orm_schema::Catalog;
use parking_lot::Mutex;
use twinport_migrations::introspect;

use crate::fault::Fault;
use crate::pools::{Backend, PgPool};
use crate::wing::Wing;
use learned::Builtin;

static NEXT_VERSION: AtomicU64 = AtomicU64::new(1);

/// A catalog that was loaded.
pub struct Loaded {
    /// Never used twice, so that what was made of another version is not found.
    pub version: u64,
    /// The schema.
    pub catalog: Catalog,
    fingerprint: u64,
}

/// One database's catalog.
#[derive(Default)]
pub struct Entry {
    loaded: ArcSwapOption<Loaded>,
    stale: AtomicBool,
    used: AtomicBool,
    loading: tokio::sync::Mutex<()>,
    learned: Arc<Learned>,
}

impl Entry {
    /// The catalog, unless it is known to be out of date.
    pub fn current(&self) -> Option<Arc<Loaded>> {
        self.used.store(true, Ordering::Relaxed);
        if self.stale.load(Ordering::Acquire) {
            return None;
        }
        self.loaded.load_full()
    }

    /// What is known of the names.
    pub fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    fn schema_changed(&self) {
        self.stale.store(true, Ordering::Release);
        self.learned.schema_changed();
    }
}

/// All databases' catalogs.
#[derive(Default)]
pub struct Catalogs {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    builtin: Arc<Builtin>,
}

impl Catalogs {
    /// The entry of a database, by the name of its settings.
    pub fn entry(&self, database: &str) -> Arc<Entry> {
        Arc::clone(self.entries.lock().entry(database.to_owned()).or_default())
    }

    /// The names of servers of each version, as far as anybody needs them.
    fn builtin(&self) -> &Arc<Builtin> {
        &self.builtin
    }

    /// Notes that a statement seen here changed the schema, and whether it may have given names a new meaning.
    pub fn schema_changed(&self, backend: &Backend, names: bool) {
        if names {
            backend.catalog.learned.names_changed();
        }
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
            let known = entry.learned.if_used();
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
                    changed |= now != known.fingerprint();
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
                    entry.learned.names_changed();
                    entry.schema_changed();
                }
                Err(error) => {
                    tracing::debug!(error = describe(&*error), "cannot look for schema changes");
                }
            }
        }
    }
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
pub(crate) fn describe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
