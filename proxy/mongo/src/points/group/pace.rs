//! The least time that a statement has taken lately: what it takes when nobody is in its way.

use std::time::{Duration, Instant};

/// How long a time counts: this, or up to twice as long.
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Pace {
    /// Since when, and the least since.
    now: Option<(Instant, Duration)>,
    /// The least of the window before.
    before: Option<Duration>,
}

impl Pace {
    pub(super) fn note(&mut self, took: Duration) {
        let now = Instant::now();
        match &mut self.now {
            Some((since, least)) if now.duration_since(*since) < WINDOW => {
                *least = took.min(*least);
            }
            window => {
                self.before = window.map(|(_, least)| least);
                *window = Some((now, took));
            }
        }
    }

    /// `None` if nothing was noted yet.
    pub(super) fn least(&self) -> Option<Duration> {
        let (_, least) = self.now?;
        Some(self.before.map_or(least, |before| before.min(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_this_window_and_the_one_before_counts() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        assert_eq!(pace.least(), None);
        for took in [3, 2, 4] {
            pace.note(ms(took));
        }
        assert_eq!(pace.least(), Some(ms(2)));
        let age = |pace: &mut Pace| {
            let (since, _) = pace.now.as_mut().unwrap();
            *since = since.checked_sub(WINDOW).unwrap();
        };
        age(&mut pace);
        pace.note(ms(7));
        assert_eq!(pace.least(), Some(ms(2)));
        age(&mut pace);
        pace.note(ms(9));
        assert_eq!(pace.least(), Some(ms(7)));
    }
}
