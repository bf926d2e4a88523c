//! OP_COMPRESSED: another message with its body compressed.
//!
//! Source: <https://github.com/mongodb/specifications/blob/master/source/compression/OP_COMPRESSED.md>.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::cursor::Cursor;
use super::frame::{Frame, HEADER, OP_COMPRESSED};
use super::out::{Out, frame};
use crate::Error;

const WHAT: &str = "OP_COMPRESSED";

/// Zlib's usual level.
const ZLIB_LEVEL: u32 = 6;

/// Zstandard's usual level.
const ZSTD_LEVEL: i32 = 3;

thread_local! {
    // Making one of these costs more than a short message does.
    static DEFLATE: RefCell<Compress> =
        RefCell::new(Compress::new(Compression::new(ZLIB_LEVEL), true));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
    static ZSTD_IN: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok());
    static ZSTD_OUT: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compressor {
    /// Not at all.
    Noop,
    /// Snappy, in its raw form.
    Snappy,
    /// Zlib.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Compressor {
    /// What we offer, the fastest first.
    pub const ALL: [Self; 3] = [Self::Snappy, Self::Zstd, Self::Zlib];

    /// The name that `hello` lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Snappy => "snappy",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// The compressor of this name; `noop` is not to be agreed on.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// The number in the message.
    pub const fn id(self) -> u8 {
        match self {
            Self::Noop => 0,
            Self::Snappy => 1,
            Self::Zlib => 2,
            Self::Zstd => 3,
        }
    }

    /// The compressor of this number.
    pub const fn by_id(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::Noop,
            1 => Self::Snappy,
            2 => Self::Zlib,
            3 => Self::Zstd,
            _ => return None,
        })
    }
}

/// May a command of this name, or its answer, never be compressed? They carry
/// secrets, whose length would show, or come before compression is agreed on.
pub fn is_never_compressed(command: &str) -> bool {
    matches!(
        command,
        "hello"
            | "isMaster"
            | "ismaster"
            | "saslStart"
            | "saslContinue"
            | "getnonce"
            | "authenticate"
            | "createUser"
            | "updateUser"
            | "copydbSaslStart"
            | "copydbgetnonce"
            | "copydb"
    )
}

/// An OP_COMPRESSED, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed<'a> {
    /// What kind of message is inside.
    pub op_code: i32,
    /// How long its body will be.
    pub size: usize,
    /// How it is compressed.
    pub compressor: Compressor,
    /// The compressed body.
    pub data: &'a [u8],
    request_id: i32,
    response_to: i32,
}

impl<'a> Compressed<'a> {
    /// Decodes a frame, of which nothing is decompressed yet.
    ///
    /// # Errors
    /// [`Error::is_length`] if the message inside would be over `limit` bytes
    /// with its header; [`Error::is_malformed`] for an unknown compressor and
    /// for one compressed message inside another.
    pub fn decode(frame: &Frame<'a>, limit: usize) -> Result<Self, Error> {
        frame.expect(OP_COMPRESSED, WHAT)?;
        let mut cursor = Cursor::new(WHAT, frame.body());
        let op_code = cursor.i32()?;
        let declared = cursor.u32()?;
        let size = declared as usize;
        if size.saturating_add(HEADER) > limit {
            return Err(Error::length(declared, 0, limit.saturating_sub(HEADER)));
        }
        let compressor =
            Compressor::by_id(cursor.u8()?).ok_or_else(|| cursor.error("an unknown compressor"))?;
        if op_code == OP_COMPRESSED {
            return Err(cursor.error("a compressed message inside another"));
        }
        Ok(Self {
            op_code,
            size,
            compressor,
            data: cursor.rest(),
            request_id: frame.header.request_id,
            response_to: frame.header.response_to,
        })
    }

    /// Replaces what is in `out` by the message inside, whole, with its header.
    /// No more is allocated than was declared and is within the limit.
    ///
    /// # Errors
    /// [`Error::is_malformed`] if what comes out has not the declared length.
    pub fn decompress(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.clear();
        frame(
            out,
            self.request_id,
            self.response_to,
            self.op_code,
            |out| {
                out.resize(HEADER + self.size, 0);
            },
        );
        let place = out.get_mut(HEADER..).unwrap_or_default();
        match self.inflate(place) {
            Some(length) if length == self.size => Ok(()),
            _ => {
                out.clear();
                Err(Error::malformed(
                    WHAT,
                    "what comes out is not what was declared",
                ))
            }
        }
    }

    /// Fills `place`; gives the bytes written.
    fn inflate(&self, place: &mut [u8]) -> Option<usize> {
        match self.compressor {
            Compressor::Noop => {
                let source = self.data.get(..place.len())?;
                place.copy_from_slice(source);
                Some(self.data.len())
            }
            Compressor::Snappy => {
                if snap::raw::decompress_len(self.data).ok()? != place.len() {
                    return None;
                }
                snap::raw::Decoder::new().decompress(self.data, place).ok()
            }
            Compressor::Zlib => INFLATE.with_borrow_mut(|state| {
                state.reset(true);
                let status = state.decompress(self.data, place, FlushDecompress::Finish);
                let consumed = usize::try_from(state.total_in()).ok()?;
                if status.ok()? != Status::StreamEnd || consumed != self.data.len() {
                    return None;
                }
                usize::try_from(state.total_out()).ok()
            }),
            Compressor::Zstd => ZSTD_OUT.with_borrow_mut(|state| {
                let state = state.as_mut()?;
                state.decompress_to_buffer(self.data, place).ok()
            }),
        }
    }
}

/// Appends `original` compressed. Gives `false`, with nothing appended, if it
/// can't be compressed or would become no shorter: send it as it is.
pub fn compress<O: Out>(out: &mut O, original: &Frame<'_>, compressor: Compressor) -> bool {
    let body = original.body();
    let Some(data) = deflate(body, compressor).filter(|data| data.len() + 9 < body.len()) else {
        return false;
    };
    append(out, original, compressor, &data);
    true
}

fn append<O: Out>(out: &mut O, original: &Frame<'_>, compressor: Compressor, data: &[u8]) {
    let header = original.header;
    frame(
        out,
        header.request_id,
        header.response_to,
        OP_COMPRESSED,
        |out| {
            out.put_i32_le(header.op_code);
            // A frame's length is bounded far below 4 GiB.
            out.put_u32_le(u32::try_from(original.body().len()).unwrap_or(u32::MAX));
            out.put_u8(compressor.id());
            out.put_slice(data);
        },
    );
}

fn deflate(body: &[u8], compressor: Compressor) -> Option<Vec<u8>> {
    match compressor {
        Compressor::Noop => None,
        Compressor::Snappy => snap::raw::Encoder::new().compress_vec(body).ok(),
        Compressor::Zlib => DEFLATE.with_borrow_mut(|state| {
            state.reset();
            // Longer than the original is of no use.
            let mut data = Vec::with_capacity(body.len());
            let status = state.compress_vec(body, &mut data, FlushCompress::Finish);
            (status.ok()? == Status::StreamEnd).then_some(data)
        }),
        Compressor::Zstd => ZSTD_IN.with_borrow_mut(|state| state.as_mut()?.compress(body).ok()),
    }
}

#[cfg(test)]
mod tests;
