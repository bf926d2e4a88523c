//! Answers that are due.

use std::sync::Arc;

use crate::statement::{Folded, Statement};
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
    },
    /// ParseComplete, for the client or not.
    Parse {
        /// What is prepared.
        key: PreparedKey,
        /// The client's name for it, if the client asked; an error takes the name away again.
        name: Option<Box<[u8]>>,
        /// What replaces an error.
        refusal: Option<Box<[u8]>>,
    },
    /// ParseComplete of our own: the statement is there already.
    Parsed(Box<[u8]>),
    /// BindComplete.
    Bind(Option<Bound>),
    /// CloseComplete, for the client.
    Close,
    /// CloseComplete of the statement that has this number in its upstream name, which we gave up ourselves.
    CloseOurs(u32),
    /// RowDescription or NoData; of a statement, after ParameterDescription.
    Describe(Option<Bound>),
    /// Rows up to CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute {
        /// What becomes of their packed columns.
        fold: Option<Arc<Folded>>,
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
    /// Nothing from the server: bytes of our own, due here.
    Own(Box<[u8]>),
}

/// The statement that a request concerns, and whether its client knows the result's columns.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The statement.
    pub statement: Arc<Statement>,
    /// Whether the client decodes rows by a description that it was given before.
    pub described: bool,
}

impl Expect {
    /// A Query of which nothing is changed.
    pub const PLAIN_QUERY: Self = Self::Query {
        refusal: None,
        json_tail: 0,
        fold: None,
        timed: false,
    };

    /// How many last columns of the description that it brings are `json`.
    pub(super) fn json_tail(&self) -> usize {
        match self {
            Self::Query { json_tail, .. } => *json_tail,
            Self::Describe(Some(bound)) => bound.statement.plan.json_tail,
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

    /// Whether the server answers it at all.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self, Self::Own(_) | Self::Parsed(_) | Self::CopyEnd)
    }

    /// Whether ReadyForQuery is the last of its answer.
    pub(super) fn ends_with_ready(&self) -> bool {
        matches!(
            self,
            Self::Query { .. } | Self::Sync { .. } | Self::Function | Self::Ours
        )
    }
}
