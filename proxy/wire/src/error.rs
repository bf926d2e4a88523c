//! The one error type of this crate.

use std::borrow::Cow;

/// MongoDB's code for a field of a command that stands there twice.
const DUPLICATE_FIELD: i32 = 40_413;

/// What is wrong with bytes that a peer sent.
///
/// The text is fit for a client to see: it never repeats a secret, and quotes
/// only names that the peer itself has sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Error(Kind);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Kind {
    #[error("invalid message length {declared}: it must lie between {least} and {most}")]
    Length {
        declared: u32,
        least: usize,
        most: usize,
    },
    #[error("malformed {what}: {why}")]
    Malformed {
        what: &'static str,
        why: Cow<'static, str>,
    },
    #[error("invalid BSON: {0}")]
    Bson(Cow<'static, str>),
    #[error("documents are nested too deeply")]
    Deep,
    #[error("{text}")]
    Repeated { code: i32, text: String },
    #[error("field `{name}` {why}")]
    Field {
        name: &'static str,
        why: &'static str,
    },
    #[error("the checksum of the message does not match")]
    Checksum,
    #[error("protocol violation: expected {0}")]
    Expected(&'static str),
    #[error("{0}")]
    Unsupported(Cow<'static, str>),
    #[error("SCRAM: {0}")]
    Scram(&'static str),
    #[error("SCRAM: the proof does not match")]
    Proof,
}

impl Error {
    pub(crate) const fn length(declared: u32, least: usize, most: usize) -> Self {
        Self(Kind::Length {
            declared,
            least,
            most,
        })
    }

    pub(crate) const fn malformed(what: &'static str, why: &'static str) -> Self {
        Self(Kind::Malformed {
            what,
            why: Cow::Borrowed(why),
        })
    }

    pub(crate) const fn malformed_owned(what: &'static str, why: String) -> Self {
        Self(Kind::Malformed {
            what,
            why: Cow::Owned(why),
        })
    }

    pub(crate) fn bson(why: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Bson(why.into()))
    }

    pub(crate) const fn deep() -> Self {
        Self(Kind::Deep)
    }

    /// What may stand there once does so twice; the code is MongoDB's own for it.
    pub(crate) const fn repeated(code: i32, text: String) -> Self {
        Self(Kind::Repeated { code, text })
    }

    /// A field of a command stands there twice.
    pub fn repeated_field(name: &str) -> Self {
        let text = format!("BSON field '{name}' is a duplicate field");
        Self::repeated(DUPLICATE_FIELD, text)
    }

    pub(crate) const fn field(name: &'static str, why: &'static str) -> Self {
        Self(Kind::Field { name, why })
    }

    pub(crate) const fn checksum() -> Self {
        Self(Kind::Checksum)
    }

    pub(crate) fn unsupported(text: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Unsupported(text.into()))
    }

    pub(crate) const fn scram(why: &'static str) -> Self {
        Self(Kind::Scram(why))
    }

    pub(crate) const fn proof() -> Self {
        Self(Kind::Proof)
    }

    /// A message is well formed, but not the one that `what` names and that
    /// the protocol wants here.
    pub const fn expected(what: &'static str) -> Self {
        Self(Kind::Expected(what))
    }

    /// The declared length of a message is impossible or over the limit.
    pub const fn is_length(&self) -> bool {
        matches!(self.0, Kind::Length { .. })
    }

    /// The bytes don't follow the protocol.
    pub const fn is_malformed(&self) -> bool {
        !matches!(self.0, Kind::Unsupported(_) | Kind::Proof)
    }

    /// The bytes follow the protocol, but ask for something that we don't do.
    pub const fn is_unsupported(&self) -> bool {
        matches!(self.0, Kind::Unsupported(_))
    }

    /// A SCRAM exchange was formally right, but the secret was not.
    pub const fn is_wrong_secret(&self) -> bool {
        matches!(self.0, Kind::Proof)
    }

    /// The bytes are not BSON, or nest too deeply.
    pub const fn is_bson(&self) -> bool {
        matches!(self.0, Kind::Bson(_) | Kind::Deep)
    }

    /// Documents are nested too deeply.
    pub const fn is_too_deep(&self) -> bool {
        matches!(self.0, Kind::Deep)
    }

    /// A section or a field stands there twice, though it may be given once.
    pub const fn is_repeated(&self) -> bool {
        matches!(self.0, Kind::Repeated { .. })
    }

    /// A field of a command is missing, or of another type than it has to have.
    pub const fn is_field(&self) -> bool {
        matches!(self.0, Kind::Field { .. })
    }

    /// The SQLSTATE that tells a Postgres client what happened.
    pub const fn sqlstate(&self) -> &'static str {
        match self.0 {
            Kind::Unsupported(_) => "0A000",
            Kind::Proof => "28P01",
            _ => "08P01",
        }
    }

    /// The code and `codeName` that tell a MongoDB client what happened; codes without a name of their own
    /// are called `Location` and their number.
    pub const fn mongo_code(&self) -> (i32, &'static str) {
        match self.0 {
            Kind::Length { .. } | Kind::Malformed { .. } | Kind::Expected(_) => {
                (17, "ProtocolError")
            }
            Kind::Bson(_) => (22, "InvalidBSON"),
            Kind::Deep => (15, "Overflow"),
            Kind::Repeated { code, .. } => (code, "Location"),
            Kind::Field { .. } => (14, "TypeMismatch"),
            Kind::Checksum => (50694, "ChecksumMismatch"),
            Kind::Unsupported(_) => (238, "NotImplemented"),
            Kind::Scram(_) | Kind::Proof => (18, "AuthenticationFailed"),
        }
    }
}
