//! What the names of a database's functions and relations say of what a statement leaves behind: learned when a
//! statement needs it, and again when the schema may have changed.
//!
//! Nobody waits long for it. As long as it isn't known, every statement counts as one that may leave anything.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use twinport_migrations::introspect;
use twinport_migrations::introspect::pg::{Material, Trace, Traces};
use twinport_rewriter::scan::{Effects, NameSet, Names, Uses, custom_names};

use super::{NEXT_VERSION, describe};
use crate::pools::PgPool;
use crate::reading::Speaks;
use crate::wing::Wing;

/// So many custom settings are asked for because some function sets them.
const MOST_SETTINGS: usize = 256;

/// After so many looks for changes without a statement it is not looked any more: the next statement waits for it.
const UNUSED: u32 = 12;

/// So long statements wait for it.
const WAIT: Duration = Duration::from_millis(250);

/// How long reading it may take.
const BOUND: Duration = Duration::from_secs(20);

/// So long it is not tried again to learn what could not be read, at most.
const PAUSE: Duration = Duration::from_secs(5);

/// So many times as long as it took to learn, it is not learned anew: a migration of a thousand statements would wait
/// a thousand times.
const REST: u32 = 10;

/// What is known of a database.
pub struct Known {
    /// Never used twice.
    pub version: u64,
    /// The names.
    pub names: Names,
    /// Custom settings that functions or views set.
    pub settings: Vec<String>,
    /// What functions or views speak of.
    pub speaks: Speaks,
    /// The server's own names, and its version.
    builtin: (Arc<NameSet>, i32),
    /// The state of the schema that it was read in, as [`Learned::epoch`] counts.
    epoch: AtomicU64,
    fingerprint: u64,
}

/// The names of servers of each version, as far as anybody needs them.
pub(super) type Builtin = Mutex<Vec<Weak<NameSet>>>;

/// What is known of a database, if anything is.
#[derive(Default)]
pub struct Learned {
    known: ArcSwapOption<Known>,
    /// Counts whatever may have changed the schema.
    epoch: AtomicU64,
    /// Counts whatever may have given names a new meaning.
    names: AtomicU64,
    /// Looks for changes since a statement was last judged.
    unused: AtomicU32,
    learning: Mutex<Option<Learning>>,
    pauses: Mutex<Pauses>,
}

/// Until when it is not tried again to learn it: what could not be read, and what has just been read.
#[derive(Clone, Copy, Default)]
struct Pauses {
    failed: Option<Instant>,
    rests: Option<Instant>,
}

/// Ready when something more is known, or could not be read.
pub type EndOfLearning = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// That it is being learned. The channel closes when that is over.
#[derive(Clone)]
struct Learning {
    since: Instant,
    over: watch::Receiver<()>,
}

/// Ends the [`Learning`], however it goes.
struct Over {
    learned: Arc<Learned>,
    _open: watch::Sender<()>,
}

impl Drop for Over {
    fn drop(&mut self) {
        *self.learned.learning.lock() = None;
    }
}

impl Learned {
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

    /// Ready when what is being learned now is known, or can't be read; it is begun if need be. `None` if nothing will
    /// be known soon.
    pub fn end_of_learning(
        self: &Arc<Self>,
        wing: &Arc<Wing>,
        pool: &Arc<PgPool>,
    ) -> Option<EndOfLearning> {
        let learning = self.learning.lock().clone();
        let mut learning = learning.or_else(|| self.begin(wing, pool))?;
        Some(Box::pin(async move {
            // It never changes, but closes.
            drop(learning.over.changed().await);
        }))
    }

    /// What was known last, whatever has changed since.
    pub fn last(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    /// Counts whatever may have changed the schema.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Counts whatever may have given names a new meaning: something new may stand before what had the name.
    pub fn names(&self) -> u64 {
        self.names.load(Ordering::Acquire)
    }

    /// Whether anything is known of the names.
    pub fn is_known(&self) -> bool {
        let known = self.known.load();
        let epoch = known
            .as_ref()
            .map(|known| known.epoch.load(Ordering::Acquire));
        epoch == Some(self.epoch.load(Ordering::Acquire))
    }

    /// Whether it is worth waiting for what isn't known; for those who need it at once, or in its time.
    pub fn can_wait(&self, at_once: bool) -> bool {
        match &*self.learning.lock() {
            Some(learning) => learning.since.elapsed() < WAIT,
            None => self.may_learn(at_once),
        }
    }

    /// Whether nothing keeps it from being learned.
    fn may_learn(&self, at_once: bool) -> bool {
        let Pauses { failed, rests } = *self.pauses.lock();
        let pauses = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        !pauses(failed) && (at_once || !pauses(rests))
    }

    pub(super) fn names_changed(&self) {
        self.names.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn schema_changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// What is known, to look whether it has changed; what nobody has used for long is forgotten instead.
    pub(super) fn if_used(&self) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        if self.unused.fetch_add(1, Ordering::Relaxed) < UNUSED {
            return Some(known);
        }
        self.schema_changed();
        self.known.store(None);
        None
    }

    /// Learns it, once at a time, if it isn't known. It waits for that, but not long. If it can't be read, it isn't
    /// known until the next try.
    pub async fn learn(self: &Arc<Self>, wing: &Arc<Wing>, pool: &Arc<PgPool>) {
        let learning = self.learning.lock().clone();
        let Some(mut learning) = learning.or_else(|| self.begin(wing, pool)) else {
            return;
        };
        let wait = WAIT.saturating_sub(learning.since.elapsed());
        drop(tokio::time::timeout(wait, learning.over.changed()).await);
    }

    fn begin(self: &Arc<Self>, wing: &Arc<Wing>, pool: &Arc<PgPool>) -> Option<Learning> {
        let mut learning = self.learning.lock();
        if learning.is_some() || self.is_known() || !self.may_learn(true) {
            return learning.clone();
        }
        let (open, over) = watch::channel(());
        *learning = Some(Learning {
            since: Instant::now(),
            over,
        });
        let over = Over {
            learned: Arc::clone(self),
            _open: open,
        };
        let (wing, pool) = (Arc::clone(wing), Arc::clone(pool));
        tokio::spawn(async move {
            let over = over;
            over.learned.read(&wing, &pool).await;
        });
        learning.clone()
    }

    async fn read(&self, wing: &Arc<Wing>, pool: &Arc<PgPool>) {
        // Before the question is asked: after a change in the meantime it is not known any more.
        let epoch = self.epoch.load(Ordering::Acquire);
        let before = self.known.load_full();
        let began = Instant::now();
        let read = tokio::time::timeout(BOUND, material(wing, pool, before.as_deref()));
        let failure = match read.await {
            Ok(Ok(None)) => {
                if let Some(before) = before {
                    before.epoch.store(epoch, Ordering::Release);
                }
                None
            }
            Ok(Ok(Some((fingerprint, material)))) => {
                let held = Arc::clone(wing.catalogs.builtin());
                let epoch = AtomicU64::new(epoch);
                // With many functions it takes long: clients are served meanwhile.
                let judged = tokio::task::spawn_blocking(move || {
                    let traces = material.judge();
                    Known::new(traces, fingerprint, epoch, before.as_deref(), &held)
                });
                match judged.await {
                    Ok(known) => {
                        self.known.store(Some(Arc::new(known)));
                        None
                    }
                    Err(error) => Some(error.to_string()),
                }
            }
            Ok(Err(error)) => Some(describe(&*error)),
            Err(_) => Some(format!("no answer within {BOUND:?}")),
        };
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        *self.pauses.lock() = Pauses {
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
}

impl Known {
    /// The state of the schema that it was read in, as [`Learned::epoch`] counts.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn new(
        traces: Traces,
        fingerprint: u64,
        epoch: AtomicU64,
        before: Option<&Self>,
        held: &Builtin,
    ) -> Self {
        let mut settings = Vec::new();
        let mut more = Effects::NONE;
        let mut speaks = Speaks::NONE;
        for text in &traces.passing {
            speaks.add_settings(text.as_bytes());
        }
        for text in &traces.texts {
            speaks.add(text.as_bytes());
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
        let of = |trace| match effects(trace) {
            found if found.without(Effects::LOCAL).is_empty() => found,
            found => found | more,
        };
        let stateful = traces.stateful.into_iter().map(|(name, uses)| {
            let uses = Uses {
                named: of(uses.named),
                called: of(uses.called),
                written: of(uses.written),
            };
            (name, uses)
        });
        let builtin = match (traces.builtin, before) {
            (None, Some(before)) => Arc::clone(&before.builtin.0),
            (names, _) => one_builtin(
                held,
                names
                    .iter()
                    .flatten()
                    .map(|name| name.to_ascii_lowercase().into_bytes().into())
                    .collect(),
            ),
        };
        Self {
            version: NEXT_VERSION.fetch_add(1, Ordering::Relaxed),
            names: Names::new(
                Arc::clone(&builtin),
                traces.harmless,
                stateful,
                effects(traces.everywhere),
                effects(traces.events),
            ),
            settings,
            speaks,
            builtin: (builtin, traces.version),
            epoch,
            fingerprint,
        }
    }
}

/// Servers of one version have the same names: they are held once.
fn one_builtin(held: &Builtin, builtin: NameSet) -> Arc<NameSet> {
    let mut held = held.lock();
    held.retain(|names| names.strong_count() > 0);
    let same = held.iter().filter_map(Weak::upgrade);
    if let Some(same) = same.into_iter().find(|names| **names == builtin) {
        return same;
    }
    let builtin = Arc::new(builtin);
    held.push(Arc::downgrade(&builtin));
    builtin
}

/// What a trace means for the statement that leaves it.
fn effects(trace: Trace) -> Effects {
    let flags = [
        (Trace::SESSION, Effects::SETTINGS | Effects::STATE),
        (Trace::UNTOLD, Effects::UNTOLD),
        (Trace::OPAQUE, Effects::OPAQUE),
        (Trace::SCHEMA, Effects::DDL),
        (Trace::HIDDEN, Effects::HIDDEN),
        (Trace::LOCAL, Effects::LOCAL),
    ];
    let found = flags.into_iter().filter(|(flag, _)| trace.contains(*flag));
    found.fold(Effects::NONE, |all, (_, effects)| all | effects)
}

/// Reads what leaves something behind, unless it is what it was.
async fn material(
    wing: &Arc<Wing>,
    pool: &Arc<PgPool>,
    before: Option<&Known>,
) -> Result<Option<(u64, Material)>, Box<dyn std::error::Error + Send + Sync>> {
    let client = wing.control(pool).await?;
    let fingerprint = introspect::pg::traces_fingerprint(&*client).await?;
    if before.is_some_and(|before| before.fingerprint == fingerprint) {
        return Ok(None);
    }
    let version = before.map(|before| before.builtin.1);
    let material = introspect::pg::session_traces(&*client, version).await?;
    Ok(Some((fingerprint, material)))
}
