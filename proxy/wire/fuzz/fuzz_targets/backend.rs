//! Frames from a server, and every decoder over every body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twinport_wire::pg::Frames;
use twinport_wire::pg::backend::{
    Authentication, Columns, Fields, Values, affected, backend_key_data, build, command_complete,
    negotiate, parameter_status, ready_for_query,
};

fuzz_target!(|bytes: &[u8]| {
    for frame in Frames::new(bytes).flatten() {
        decode(frame.body());
    }
    decode(bytes);
});

fn decode(body: &[u8]) {
    if let Ok(Authentication::Sasl(mechanisms)) = Authentication::decode(body) {
        assert!(mechanisms.iter().count() <= body.len());
    }
    let _ = negotiate(body);
    let _ = ready_for_query(body);
    let _ = command_complete(body).map(affected);
    let fields = Fields::new(body);
    let _ = (fields.check(), fields.code());
    assert!(fields.count() <= body.len());
    let mut again = Vec::new();
    if let Ok((name, value)) = parameter_status(body) {
        build::parameter_status(&mut again, name, value);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(key) = backend_key_data(body) {
        build::backend_key_data(&mut again, key.pid, key.secret);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(Ok(columns)) =
        Columns::new(body).map(|columns| columns.collect::<Result<Vec<_>, _>>())
    {
        build::row_description(&mut again, &columns);
        assert_eq!(&again[5..], body);
    }
    again.clear();
    if let Ok(Ok(values)) = Values::new(body).map(|values| values.collect::<Result<Vec<_>, _>>()) {
        build::data_row(&mut again, &values);
        assert_eq!(&again[5..], body);
    }
}
