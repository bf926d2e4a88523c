//! One read buffer per thread, so that an idle client holds none.
//!
//! A session reads into it, hands what came on at once, and keeps only what is left over (half a frame, what
//! a slow peer did not take yet) in a buffer of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The size of the buffer in bytes: what one read takes at most.
pub const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Lends the thread's buffer to `work`, which MUST NOT ask for it again; if it does, it gets a fresh one.
pub fn with<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => work(&mut buffer),
        Err(_) => work(&mut vec![0; SIZE]),
    })
}

/// Reads once, through the thread's buffer, to the end of `onto`; nothing is lost if this is dropped. The number of
/// bytes, 0 at the end.
///
/// # Errors
/// What reading says.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), onto: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        with(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            onto.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}
