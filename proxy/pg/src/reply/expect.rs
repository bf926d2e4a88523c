//! Answers that are due.

use std::sync::Arc;

use crate::handles::Change;
use crate::statement::{Folded, Local, Statement};
use crate::upstream::PreparedKey;

/// An answer that is due.
#[derive(Debug)]
pub enum Expect {
    /// All that a simple Query brings, up to ReadyForQuery.
    Query {
        /// What replaces an error.
        refusal: Option<Box<[u8]>>,
        /// So many last columns are described as `json`.
        json_tail: usize,
        /// What becomes of the rows' packed columns.
        fold: Option<Arc<Folded>>,
        /// Whether the statement has a time of its own.
        timed: bool,
        /// What it does to the session's prepared statements.
        drops: Drops,
    },
    /// ParseComplete, for the client or not.
    Parse {
        /// What is prepared.
        key: PreparedKey,
        /// The number in its upstream name; 0 for the unnamed statement.
        number: u32,
        /// What it changes, if the client sent it.
        change: Option<Change>,
    },
    /// An error, which this replaces: we refuse the request. If that was to prepare the unnamed statement, the
    /// one that was there is gone.
    Refused(Box<[u8]>, Option<Change>),
    /// ParseComplete of our own: the statement is there already.
    Parsed(Change),
    /// BindComplete.
    Bind(Option<Bound>),
    /// CloseComplete, for the client.
    Close,
    /// CloseComplete of our own: the name was the client's, or nobody's.
    Closed(Option<Box<Change>>),
    /// CloseComplete of the statement that has this number in its upstream name, which we gave up ourselves.
    CloseOurs(u32),
    /// RowDescription or NoData; of a statement, after ParameterDescription.
    Describe(Option<Bound>),
    /// The same for a question of our own: which columns has this statement here?
    Columns(Bound),
    /// Rows up to CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute {
        /// What becomes of the rows' packed columns.
        fold: Option<Arc<Folded>>,
        /// What it does to the session's prepared statements.
        drops: Drops,
        /// Whether the statement has a time of its own.
        timed: bool,
    },
    /// Nothing: here the client has ended a COPY of which it had not been told yet that it has begun.
    CopyEnd,
    /// FunctionCallResponse up to ReadyForQuery.
    Function,
    /// ReadyForQuery, for the client or not.
    Sync {
        /// Whether the client sent the Sync.
        shown: bool,
    },
    /// All that a Query of our own brings, up to ReadyForQuery: none of it is for the client.
    Ours,
}

/// What SQL does to prepared statements.
#[derive(Clone, Debug)]
pub enum Drops {
    /// Nothing.
    Nothing,
    /// It may drop them: what the server says in the end decides.
    Maybe,
    /// The server does something else in its place; once that is done, this is.
    Ours(Local),
}

/// The statement that a request concerns, and whether its client knows the result's columns.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The statement.
    pub statement: Arc<Statement>,
    /// What it is prepared under.
    pub key: PreparedKey,
    /// The schema, and what decides which of it is meant, by which its columns are known.
    pub view: u64,
    /// Whether the client decodes rows by a description that it was given before.
    pub described: bool,
    /// Whether the client may keep a description for later: the statement has a name.
    pub named: bool,
}

impl Expect {
    /// A Query of which nothing is changed.
    pub const PLAIN_QUERY: Self = Self::Query {
        refusal: None,
        json_tail: 0,
        fold: None,
        timed: false,
        drops: Drops::Nothing,
    };

    /// The client's change of a name that goes with it.
    pub(super) fn change(&mut self) -> Option<&mut Change> {
        match self {
            Self::Parse { change, .. } | Self::Refused(_, change) => change.as_mut(),
            Self::Parsed(change) => Some(change),
            Self::Closed(change) => change.as_deref_mut(),
            _ => None,
        }
    }

    /// Whose statement it changes.
    pub(super) fn changes(&self) -> Option<&[u8]> {
        match self {
            Self::Parse { change, .. } | Self::Refused(_, change) => change.as_ref(),
            Self::Parsed(change) => Some(change),
            Self::Closed(change) => change.as_deref(),
            _ => None,
        }
        .map(Change::name)
    }

    /// The client's change of a name, if there is one.
    pub(super) fn into_change(self) -> Option<Change> {
        match self {
            Self::Parse { change, .. } | Self::Refused(_, change) => change,
            Self::Parsed(change) => Some(change),
            Self::Closed(change) => change.map(|change| *change),
            _ => None,
        }
    }

    /// What it does to the session's prepared statements.
    pub(super) fn drops(&self) -> &Drops {
        match self {
            Self::Query { drops, .. } | Self::Execute { drops, .. } => drops,
            _ => &Drops::Nothing,
        }
    }

    /// Whether the answer is our own and comes as soon as those before it have come.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Parsed(_) | Self::Closed(_) | Self::CopyEnd)
    }

    /// How many last columns of the description that it brings are `json`.
    pub(super) fn json_tail(&self) -> usize {
        match self {
            Self::Query { json_tail, .. } => *json_tail,
            Self::Describe(Some(bound)) | Self::Columns(bound) => bound.statement.plan.json_tail,
            _ => 0,
        }
    }

    /// What becomes of the rows' packed columns.
    pub(super) fn fold(&self) -> Option<&Arc<Folded>> {
        match self {
            Self::Query { fold, .. } | Self::Execute { fold, .. } => fold.as_ref(),
            _ => None,
        }
    }

    /// Whether the server runs a statement for it that has a time of its own.
    pub(super) fn is_timed(&self) -> bool {
        matches!(
            self,
            Self::Query { timed: true, .. } | Self::Execute { timed: true, .. }
        )
    }

    /// Whether the server runs a statement for it, or ends a batch.
    pub(super) fn is_run(&self) -> bool {
        self.ends_with_ready() || matches!(self, Self::Execute { .. })
    }

    /// Whether ReadyForQuery is the last of its answer.
    pub(super) fn ends_with_ready(&self) -> bool {
        matches!(
            self,
            Self::Query { .. } | Self::Sync { .. } | Self::Function | Self::Ours
        )
    }
}
