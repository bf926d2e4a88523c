//! One pass over a chunk of answers.

/// Where in a chunk of answers the walk is, and what of it the client sees.
pub(super) struct Walk<'a> {
    pub(super) chunk: &'a [u8],
    pub(super) at: usize,
    pub(super) shown_from: usize,
    pub(super) cut: bool,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'a> Walk<'a> {
    /// What is not walked yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }

    /// From here on the output is rebuilt: what was shown so far is copied to it.
    pub(super) fn copy_up_to(&mut self, end: usize) {
        self.out
            .extend_from_slice(self.chunk.get(self.shown_from..end).unwrap_or_default());
        self.shown_from = end;
        self.cut = true;
    }

    /// Passes over bytes that the client does not see.
    pub(super) fn skip(&mut self, len: usize) {
        self.copy_up_to(self.at);
        self.at += len;
        self.shown_from = self.at;
    }

    /// Puts bytes of our own here.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        self.copy_up_to(self.at);
        self.out.extend_from_slice(bytes);
    }

    /// Puts bytes of our own in place of the next `len`.
    pub(super) fn replace(&mut self, len: usize, bytes: &[u8]) {
        self.insert(bytes);
        self.at += len;
        self.shown_from = self.at;
    }
}
