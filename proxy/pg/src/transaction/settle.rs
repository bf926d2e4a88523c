//! What becomes of a lease when its transaction is over: the server is asked what was left, and it is released or kept.

use std::sync::Arc;

use twinport_rewriter::scan::Effects;

use super::apply;
use crate::catalogs::Known;
use crate::left::ASKED;
use crate::pin::{Pinned, Until};
use crate::reading::is_of_one_lease;
use crate::reply::{Fate, Last};
use crate::session::{Held, Session};
use crate::upstream::ExchangeError;

impl Session {
    /// Asks the server what the transaction left, then releases or pins. Whether the session goes on.
    pub(crate) async fn settle(&mut self) -> bool {
        let Some(held) = &mut self.held else {
            return true;
        };
        let fresh = std::mem::take(&mut held.effects);
        let renames = std::mem::take(&mut held.renames);
        if fresh.contains(Effects::DDL) {
            let backend = self.pool.connector();
            self.wing.catalogs.schema_changed(backend, renames);
        }
        if self.key.slot.disarm() {
            // It must not hit what we ask.
            self.key.slot.settled().await;
        }
        let effects = self.pinned.to_ask(fresh).without(Effects::DDL);
        let fate = std::mem::take(&mut self.replies.fate);
        if effects.intersects(ASKED)
            && let Err(error) = self.look_back(effects, fate).await
        {
            return self.end_lost(&error).await;
        }
        if let Some(held) = &mut self.held {
            held.forget_reader();
            self.to_client.append(&mut held.upstream.aside);
        }
        if self.pinned.shadows() {
            self.note_reading();
        }
        if self.pinned.is_none() {
            self.release();
            return true;
        }
        self.keep().await
    }

    /// Asks the server what was left, and pins the session if it has to be. An error if the connection is lost.
    async fn look_back(&mut self, effects: Effects, mut fate: Fate) -> Result<(), ExchangeError> {
        let Some(held) = &mut self.held else {
            return Ok(());
        };
        fate.lasted |= held.look_back.may_have_committed();
        let backend = self.pool.connector();
        let learned = backend.catalog.learned();
        // The schema may have changed since the statement was judged: what was known then counts as well.
        let known = learned.last();
        let again = held.judge_again(known.as_deref(), learned.epoch(), &mut fate);
        let again = again.unwrap_or_default();
        let mut waits = false;
        if let Some(unjudged) = &mut held.unjudged {
            let covered = unjudged.is_covered(known.as_deref());
            let more = again.contains(Effects::OPAQUE) && !covered;
            let begin = || learned.end_of_learning(&self.wing, &self.pool);
            unjudged.learning = more.then(begin).flatten();
            waits = unjudged.learning.is_some();
        }
        let effects = effects | again.only(ASKED);
        let names = known.as_ref().map_or(&[][..], |known| &known.settings);
        let wanted = Arc::clone(&self.settings);
        let left = held
            .look_back(effects, &wanted, names, backend.user(), fate)
            .await;
        match left {
            Ok(left) => {
                held.upstream.settings = self.wing.overrides.one(left.on_connection);
                let over = left.settings.over(&self.baseline);
                self.settings = self.wing.overrides.one(over);
                if waits {
                    let until = Until::Learned;
                    self.pin(Pinned::Unknown { effects, until });
                } else {
                    held.unjudged = None;
                    self.pin(left.pin);
                }
            }
            Err(error) if error.is_lost() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "cannot ask what a session left; it keeps its connection");
                let until = Until::Answered(self.replies.ready);
                self.pin(Pinned::Unknown { effects, until });
            }
        }
        Ok(())
    }

    /// Goes on with a lease that outlives its transaction. Whether the session does.
    async fn keep(&mut self) -> bool {
        let Some(held) = &mut self.held else {
            return true;
        };
        let known = !matches!(self.pinned, Pinned::Unknown { .. });
        // A RESET inside a function goes to the server's values, and not to what the client asked for at login.
        // Where more may be set than is known, applying would take that away.
        let clear = !held.upstream.settings.is_unclear();
        if known
            && clear
            && let Err(error) = apply(&mut held.upstream, &self.settings).await
        {
            return self.end_lost(&error).await;
        }
        held.upstream.rereads = false;
        let notifications = std::mem::take(&mut held.upstream.aside);
        self.to_client.extend_from_slice(&notifications);
        self.key.slot.arm(Arc::clone(&held.upstream.target));
        true
    }

    fn pin(&mut self, pinned: Pinned) {
        if pinned != self.pinned {
            let reason = pinned.reason();
            if let Some(reason) = &reason {
                tracing::debug!(client = self.presence.id, %reason, "pinned");
            }
            self.presence.set_pin(reason);
            self.pinned = pinned;
        }
    }
}

impl Held {
    /// What the statements may have left that ran before it was known what their functions do, as far as it is known now.
    fn judge_again(
        &mut self,
        known: Option<&Known>,
        epoch: u64,
        fate: &mut Fate,
    ) -> Option<Effects> {
        let mut unjudged = self.unjudged.take()?;
        unjudged.settle(fate.lasted, epoch);
        if fate.last == Last::DiscardAll || unjudged.is_empty() {
            return None;
        }
        fate.lasted = true;
        let effects = unjudged.judge(known.map(|known| &known.names));
        if effects.contains(Effects::UNTOLD) {
            for text in unjudged.texts() {
                self.look_back.note_text(text, effects);
            }
        }
        self.unjudged = Some(unjudged);
        Some(effects)
    }

    /// Counts no more on statements that were prepared while literals were read in a way that nobody knows.
    pub(crate) fn forget_reader(&mut self) {
        if self.reader.take().is_none() {
            return;
        }
        let upstream = &mut *self.upstream;
        let own = upstream.prepared.iter();
        let own = own.filter(|((_, reader), _)| is_of_one_lease(*reader));
        let own: Vec<_> = own.map(|(key, number)| (*key, *number)).collect();
        for (key, number) in own {
            upstream.doubt(key, number);
        }
    }
}
