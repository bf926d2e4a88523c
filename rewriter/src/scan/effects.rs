//! What a statement may do beyond its own transaction, as a set of flags.

use std::ops::{BitOr, BitOrAssign};

/// What a statement's text may do beyond its own transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects(u16);

impl Effects {
    /// Nothing that outlives the transaction.
    pub const NONE: Self = Self(0);
    /// A comment begins with `@`: the statement carries a directive.
    pub const ANNOTATED: Self = Self(1);
    /// May change a setting of the session: `SET`, `RESET`, `set_config`, `DISCARD`.
    pub const SETTINGS: Self = Self(1 << 1);
    /// May create or drop state that can't be moved: `LISTEN`, temporary objects, advisory locks, …
    pub const STATE: Self = Self(1 << 2);
    /// Changes the schema.
    pub const DDL: Self = Self(1 << 3);
    /// Drops prepared statements: `DEALLOCATE`, `DISCARD`.
    pub const DEALLOCATE: Self = Self(1 << 4);
    /// `DISCARD ALL`, which takes everything that the session holds.
    pub const DISCARD_ALL: Self = Self(1 << 5);
    /// More than one statement.
    pub const SEVERAL: Self = Self(1 << 6);
    /// `LOAD`: nobody can ask the server what a library has changed.
    pub const LOAD: Self = Self(1 << 7);
    /// May change a setting inside the transaction: the search path may be another from here on.
    pub const LOCAL: Self = Self(1 << 8);
    /// Runs a prepared statement by SQL, or explains one: `EXECUTE`, `EXPLAIN EXECUTE`.
    pub const EXECUTE: Self = Self(1 << 9);
    /// Sets a custom setting for the session under a name that is computed: `set_config('app.' || x, …)`. The
    /// server lists no custom settings, so nobody can ask for it.
    pub const UNTOLD: Self = Self(1 << 10);
    /// Runs code that can't be read: dynamic SQL, the body of a DO, a function that nobody knows. It may have set
    /// anything.
    pub const OPAQUE: Self = Self(1 << 11);
    /// Leaves something that can't be asked for: a connection of `dblink`, a backup that was begun.
    pub const HIDDEN: Self = Self(1 << 12);
    /// What the server must be asked about, for nothing is known but that it may leave something.
    pub const ANYTHING: Self = Self::SETTINGS.or(Self::STATE).or(Self::OPAQUE);

    /// These flags and those of `other`.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other`'s flags are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other`'s flags is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of these flags that are among `other`'s.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number, and back by [`Effects::from_bits`].
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The flags of a number.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl BitOr for Effects {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
