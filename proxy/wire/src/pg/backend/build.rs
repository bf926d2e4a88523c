//! Messages that we send to a client.

use super::super::out::{Out, count, cstr, frame, length};
use super::{
    AUTHENTICATION, BACKEND_KEY_DATA, BIND_COMPLETE, CLOSE_COMPLETE, COMMAND_COMPLETE, COPY_BOTH,
    COPY_DATA, COPY_DONE, COPY_IN, COPY_OUT, Column, DATA_ROW, EMPTY_QUERY, ERROR_RESPONSE,
    NEGOTIATE, NO_DATA, NOTICE_RESPONSE, PARAMETER_DESCRIPTION, PARAMETER_STATUS, PARSE_COMPLETE,
    PORTAL_SUSPENDED, READY_FOR_QUERY, ROW_DESCRIPTION, Report, Status,
};
use crate::pg::startup::Version;

fn authentication<O: Out>(out: &mut O, code: u32, data: impl FnOnce(&mut O)) {
    frame(out, AUTHENTICATION, |out| {
        out.put_u32(code);
        data(out);
    });
}

/// Appends an AuthenticationOk.
pub fn authentication_ok<O: Out>(out: &mut O) {
    authentication(out, 0, |_| ());
}

/// Appends an AuthenticationCleartextPassword.
pub fn authentication_cleartext<O: Out>(out: &mut O) {
    authentication(out, 3, |_| ());
}

/// Appends an AuthenticationMD5Password.
pub fn authentication_md5<O: Out>(out: &mut O, salt: [u8; 4]) {
    authentication(out, 5, |out| out.put_slice(&salt));
}

/// Appends an AuthenticationSASL.
pub fn authentication_sasl<O: Out>(out: &mut O, mechanisms: &[&str]) {
    authentication(out, 10, |out| {
        for mechanism in mechanisms {
            cstr(out, mechanism.as_bytes());
        }
        out.put_u8(0);
    });
}

/// Appends an AuthenticationSASLContinue.
pub fn authentication_sasl_continue<O: Out>(out: &mut O, data: &[u8]) {
    authentication(out, 11, |out| out.put_slice(data));
}

/// Appends an AuthenticationSASLFinal.
pub fn authentication_sasl_final<O: Out>(out: &mut O, data: &[u8]) {
    authentication(out, 12, |out| out.put_slice(data));
}

/// Appends a NegotiateProtocolVersion.
pub fn negotiate<O: Out>(out: &mut O, newest: Version, unknown: &[&str]) {
    frame(out, NEGOTIATE, |out| {
        out.put_u32(newest.number());
        out.put_u32(u32::from(count(unknown.len())));
        for name in unknown {
            cstr(out, name.as_bytes());
        }
    });
}

/// Appends a ParameterStatus.
pub fn parameter_status<O: Out>(out: &mut O, name: &[u8], value: &[u8]) {
    frame(out, PARAMETER_STATUS, |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// Appends a BackendKeyData. A client of protocol 3.0 needs a secret of 4
/// bytes; since 3.2 it may have 256.
pub fn backend_key_data<O: Out>(out: &mut O, pid: i32, secret: &[u8]) {
    frame(out, BACKEND_KEY_DATA, |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// Appends a ReadyForQuery.
#[inline]
pub fn ready_for_query<O: Out>(out: &mut O, status: Status) {
    out.put_slice(&[READY_FOR_QUERY, 0, 0, 0, 5, status.byte()]);
}

/// Appends an ErrorResponse.
pub fn error_response<O: Out>(out: &mut O, report: &Report<'_>) {
    frame(out, ERROR_RESPONSE, |out| fields(out, report));
}

/// Appends a NoticeResponse.
pub fn notice_response<O: Out>(out: &mut O, report: &Report<'_>) {
    frame(out, NOTICE_RESPONSE, |out| fields(out, report));
}

fn fields<O: Out>(out: &mut O, report: &Report<'_>) {
    let position = report.position.map(|position| position.to_string());
    let fields = [
        (b'S', Some(report.severity)),
        (b'V', Some(report.severity)),
        (b'C', Some(report.code)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
        (b'P', position.as_deref()),
        (b'R', report.routine),
    ];
    for (letter, text) in fields {
        if let Some(text) = text {
            out.put_u8(letter);
            cstr(out, text.as_bytes());
        }
    }
    out.put_u8(0);
}

/// Appends a ParseComplete.
pub fn parse_complete<O: Out>(out: &mut O) {
    frame(out, PARSE_COMPLETE, |_| ());
}

/// Appends a BindComplete.
pub fn bind_complete<O: Out>(out: &mut O) {
    frame(out, BIND_COMPLETE, |_| ());
}

/// Appends a CloseComplete.
pub fn close_complete<O: Out>(out: &mut O) {
    frame(out, CLOSE_COMPLETE, |_| ());
}

/// Appends a NoData.
pub fn no_data<O: Out>(out: &mut O) {
    frame(out, NO_DATA, |_| ());
}

/// Appends an EmptyQueryResponse.
pub fn empty_query<O: Out>(out: &mut O) {
    frame(out, EMPTY_QUERY, |_| ());
}

/// Appends a PortalSuspended.
pub fn portal_suspended<O: Out>(out: &mut O) {
    frame(out, PORTAL_SUSPENDED, |_| ());
}

/// Appends a ParameterDescription.
pub fn parameter_description<O: Out>(out: &mut O, oids: &[u32]) {
    frame(out, PARAMETER_DESCRIPTION, |out| {
        out.put_u16(count(oids.len()));
        for oid in oids {
            out.put_u32(*oid);
        }
    });
}

/// Appends a RowDescription.
pub fn row_description<O: Out>(out: &mut O, columns: &[Column<'_>]) {
    frame(out, ROW_DESCRIPTION, |out| {
        out.put_u16(count(columns.len()));
        for column in columns {
            cstr(out, column.name);
            out.put_u32(column.table);
            out.put_i16(column.number);
            out.put_u32(column.type_oid);
            out.put_i16(column.size);
            out.put_i32(column.modifier);
            out.put_i16(column.format);
        }
    });
}

/// Appends a DataRow; `None` is NULL.
pub fn data_row<O: Out, V: AsRef<[u8]>>(out: &mut O, values: &[Option<V>]) {
    frame(out, DATA_ROW, |out| {
        out.put_u16(count(values.len()));
        for value in values {
            match value.as_ref().map(AsRef::as_ref) {
                None => out.put_i32(-1),
                Some(bytes) => {
                    out.put_i32(length(bytes));
                    out.put_slice(bytes);
                }
            }
        }
    });
}

/// Appends a CommandComplete.
pub fn command_complete<O: Out>(out: &mut O, tag: &[u8]) {
    frame(out, COMMAND_COMPLETE, |out| cstr(out, tag));
}

/// Appends a CopyInResponse with so many columns, all of one format.
pub fn copy_in<O: Out>(out: &mut O, binary: bool, columns: u16) {
    copy(out, COPY_IN, binary, columns);
}

/// Appends a CopyOutResponse with so many columns, all of one format.
pub fn copy_out<O: Out>(out: &mut O, binary: bool, columns: u16) {
    copy(out, COPY_OUT, binary, columns);
}

/// Appends a CopyBothResponse with so many columns, all of one format.
pub fn copy_both<O: Out>(out: &mut O, binary: bool, columns: u16) {
    copy(out, COPY_BOTH, binary, columns);
}

fn copy<O: Out>(out: &mut O, tag: u8, binary: bool, columns: u16) {
    frame(out, tag, |out| {
        out.put_u8(u8::from(binary));
        out.put_u16(columns);
        for _ in 0..columns {
            out.put_u16(u16::from(binary));
        }
    });
}

/// Appends a CopyData.
pub fn copy_data<O: Out>(out: &mut O, data: &[u8]) {
    frame(out, COPY_DATA, |out| out.put_slice(data));
}

/// Appends a CopyDone.
pub fn copy_done<O: Out>(out: &mut O) {
    frame(out, COPY_DONE, |_| ());
}
