//! What builders append to.

use std::ops::DerefMut;

use bytes::BufMut;

/// A growing buffer: `Vec<u8>` or `BytesMut`.
pub trait Out: BufMut + DerefMut<Target = [u8]> {}

impl<T: BufMut + DerefMut<Target = [u8]>> Out for T {}
