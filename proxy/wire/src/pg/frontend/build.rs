//! Messages that we send to a server.

use super::super::out::{Out, count, cstr, frame, length};
use super::{
    BIND, CLOSE, COPY_DONE, COPY_FAIL, DESCRIBE, EXECUTE, FLUSH, PARSE, PASSWORD, QUERY, SYNC,
    TERMINATE, Target,
};

/// Appends a Query.
pub fn query<O: Out>(out: &mut O, text: &[u8]) {
    frame(out, QUERY, |out| cstr(out, text));
}

/// Appends a Parse. `types` holds the OIDs as the wire does, four bytes each.
pub fn parse<O: Out>(out: &mut O, name: &[u8], text: &[u8], types: &[u8]) {
    frame(out, PARSE, |out| {
        cstr(out, name);
        cstr(out, text);
        out.put_u16(count(types.len() / 4));
        out.put_slice(types);
    });
}

/// Appends a Bind whose formats, parameters and result formats are `rest`, as
/// [`super::Bind::decode`] gives it.
pub fn bind<O: Out>(out: &mut O, portal: &[u8], statement: &[u8], rest: &[u8]) {
    frame(out, BIND, |out| {
        cstr(out, portal);
        cstr(out, statement);
        out.put_slice(rest);
    });
}

/// Appends a Bind with all parameters and results in text format.
pub fn bind_text<O: Out>(out: &mut O, portal: &[u8], statement: &[u8], values: &[Option<&[u8]>]) {
    frame(out, BIND, |out| {
        cstr(out, portal);
        cstr(out, statement);
        out.put_u16(0);
        out.put_u16(count(values.len()));
        for value in values {
            match value {
                None => out.put_i32(-1),
                Some(bytes) => {
                    out.put_i32(length(bytes));
                    out.put_slice(bytes);
                }
            }
        }
        out.put_u16(0);
    });
}

/// Appends a Describe.
pub fn describe<O: Out>(out: &mut O, target: Target<'_>) {
    targeted(out, DESCRIBE, target);
}

/// Appends a Close.
pub fn close<O: Out>(out: &mut O, target: Target<'_>) {
    targeted(out, CLOSE, target);
}

fn targeted<O: Out>(out: &mut O, tag: u8, target: Target<'_>) {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    frame(out, tag, |out| {
        out.put_u8(kind);
        cstr(out, name);
    });
}

/// Appends an Execute; zero `rows` means all.
pub fn execute<O: Out>(out: &mut O, portal: &[u8], rows: i32) {
    frame(out, EXECUTE, |out| {
        cstr(out, portal);
        out.put_i32(rows);
    });
}

/// Appends a Sync.
pub fn sync<O: Out>(out: &mut O) {
    frame(out, SYNC, |_| ());
}

/// Appends a Flush.
pub fn flush<O: Out>(out: &mut O) {
    frame(out, FLUSH, |_| ());
}

/// Appends a Terminate.
pub fn terminate<O: Out>(out: &mut O) {
    frame(out, TERMINATE, |_| ());
}

/// Appends a CopyDone.
pub fn copy_done<O: Out>(out: &mut O) {
    frame(out, COPY_DONE, |_| ());
}

/// Appends a CopyFail.
pub fn copy_fail<O: Out>(out: &mut O, message: &str) {
    frame(out, COPY_FAIL, |out| cstr(out, message.as_bytes()));
}

/// Appends a PasswordMessage.
pub fn password<O: Out>(out: &mut O, text: &[u8]) {
    frame(out, PASSWORD, |out| cstr(out, text));
}

/// Appends a SASLInitialResponse.
pub fn sasl_initial<O: Out>(out: &mut O, mechanism: &str, data: &[u8]) {
    frame(out, PASSWORD, |out| {
        cstr(out, mechanism.as_bytes());
        out.put_i32(length(data));
        out.put_slice(data);
    });
}

/// Appends a SASLResponse.
pub fn sasl_response<O: Out>(out: &mut O, data: &[u8]) {
    frame(out, PASSWORD, |out| out.put_slice(data));
}
