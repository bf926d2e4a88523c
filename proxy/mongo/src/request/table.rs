//! Every command that is understood: where it may run, and who handles it.

use twinport_core::sql::Pending;

use super::{
    Context, Outcome, crud, cursor, explain, hint, login, query, roles, schema, server, sessions,
    sizes, specs, testing, users,
};
use crate::fault::{Fault, known};
use crate::forward;

/// What handles a command.
pub(super) type Handler = for<'a, 'b> fn(&'a mut Context<'b>) -> Pending<'a, Outcome>;

/// A command.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// Also for those who have not logged in.
    pub(crate) open: bool,
    /// Also by OP_QUERY.
    pub(crate) legacy: bool,
    /// Also inside a transaction.
    pub(crate) in_transaction: bool,
    /// It is what ends a transaction.
    pub(crate) ends_transaction: bool,
    /// Answered here also where the rest is forwarded.
    local: bool,
    /// It goes to a server, which sees to transactions itself.
    pub(crate) relays: bool,
    pub(super) handler: Handler,
}

impl Entry {
    const fn new(name: &'static str, handler: Handler) -> Self {
        Self {
            name,
            open: false,
            legacy: false,
            in_transaction: false,
            ends_transaction: false,
            local: false,
            relays: false,
            handler,
        }
    }

    const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    const fn local(mut self) -> Self {
        self.local = true;
        self
    }

    const fn relaying(mut self) -> Self {
        self.relays = true;
        self
    }

    const fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }

    const fn transactional(mut self) -> Self {
        self.in_transaction = true;
        self
    }

    const fn ending(mut self) -> Self {
        self.ends_transaction = true;
        self
    }
}

/// The commands, in the order of their names' bytes.
static COMMANDS: &[Entry] = &[
    Entry::new("abortTransaction", |c| Box::pin(sessions::abort(c))).ending(),
    Entry::new("aggregate", |c| Box::pin(query::aggregate(c))).transactional(),
    Entry::new("atlasVersion", |c| Box::pin(server::not_atlas(c)))
        .open()
        .local(),
    Entry::new("authenticate", |c| Box::pin(login::authenticate(c)))
        .open()
        .local(),
    Entry::new("buildInfo", |c| Box::pin(server::build_info(c))).open(),
    Entry::new("buildinfo", |c| Box::pin(server::build_info(c))).open(),
    Entry::new("collMod", |c| Box::pin(schema::coll_mod(c))),
    Entry::new("collStats", |c| Box::pin(schema::coll_stats(c))),
    Entry::new("collstats", |c| Box::pin(schema::coll_stats(c))),
    Entry::new("commitTransaction", |c| Box::pin(sessions::commit(c))).ending(),
    Entry::new("compact", |c| Box::pin(schema::compact(c))),
    Entry::new("configureFailPoint", |c| Box::pin(testing::fail_point(c))).local(),
    Entry::new("connectionStatus", |c| Box::pin(roles::status(c)))
        .open()
        .local(),
    Entry::new("count", |c| Box::pin(query::count(c))).transactional(),
    Entry::new("create", |c| Box::pin(schema::create(c))).transactional(),
    Entry::new("createIndexes", |c| Box::pin(specs::create_indexes(c))).transactional(),
    Entry::new("createRole", |c| Box::pin(users::create_role(c))),
    Entry::new("createSearchIndexes", |c| Box::pin(schema::search_index(c))),
    Entry::new("createUser", |c| Box::pin(users::create_user(c))),
    Entry::new("currentOp", |c| Box::pin(server::current_op(c))),
    Entry::new("dataSize", |c| Box::pin(sizes::data_size(c))),
    Entry::new("datasize", |c| Box::pin(sizes::data_size(c))),
    Entry::new("dbStats", |c| Box::pin(schema::db_stats(c))),
    Entry::new("dbstats", |c| Box::pin(schema::db_stats(c))),
    Entry::new("delete", |c| Box::pin(hint::delete(c))).transactional(),
    Entry::new("distinct", |c| Box::pin(query::distinct(c))).transactional(),
    Entry::new("drop", |c| Box::pin(schema::drop_collection(c))),
    Entry::new("dropDatabase", |c| Box::pin(schema::drop_database(c))),
    Entry::new("dropIndexes", |c| Box::pin(schema::drop_indexes(c))),
    Entry::new("dropRole", |c| Box::pin(users::drop_role(c))),
    Entry::new("dropSearchIndex", |c| Box::pin(schema::search_index(c))),
    Entry::new("dropUser", |c| Box::pin(users::drop_user(c))),
    Entry::new("endSessions", |c| Box::pin(sessions::end(c))).open(),
    Entry::new("explain", |c| Box::pin(explain::explain(c))),
    Entry::new("features", |c| Box::pin(server::features(c))),
    Entry::new("find", |c| Box::pin(query::find(c))).transactional(),
    Entry::new("findAndModify", |c| Box::pin(crud::find_and_modify(c))).transactional(),
    Entry::new("findandmodify", |c| Box::pin(crud::find_and_modify(c))).transactional(),
    Entry::new("getCmdLineOpts", |c| Box::pin(server::command_line(c))),
    Entry::new("getDefaultRWConcern", |c| Box::pin(server::concern(c))),
    Entry::new("getFreeMonitoringStatus", |c| {
        Box::pin(server::free_monitoring(c))
    }),
    Entry::new("getLastError", |c| Box::pin(server::last_error(c))),
    Entry::new("getLog", |c| Box::pin(server::log(c))),
    Entry::new("getMore", |c| Box::pin(cursor::get_more(c))).transactional(),
    Entry::new("getParameter", |c| Box::pin(server::parameter(c))),
    Entry::new("getnonce", |c| Box::pin(login::nonce(c)))
        .open()
        .local(),
    Entry::new("grantPrivilegesToRole", |c| {
        Box::pin(roles::none_of_ones_own(c))
    }),
    Entry::new("grantRolesToRole", |c| Box::pin(roles::none_of_ones_own(c))),
    Entry::new("grantRolesToUser", |c| Box::pin(roles::grant(c))),
    Entry::new("hello", |c| Box::pin(login::hello(c)))
        .open()
        .local()
        .legacy(),
    Entry::new("hostInfo", |c| Box::pin(server::host_info(c))),
    Entry::new("insert", |c| Box::pin(crud::insert(c))).transactional(),
    Entry::new("isMaster", |c| Box::pin(login::hello(c)))
        .open()
        .local()
        .legacy(),
    Entry::new("isdbgrid", |c| Box::pin(server::is_grid(c))).open(),
    Entry::new("ismaster", |c| Box::pin(login::hello(c)))
        .open()
        .local()
        .legacy(),
    Entry::new("killAllSessions", |c| Box::pin(sessions::end_all(c))),
    Entry::new("killAllSessionsByPattern", |c| {
        Box::pin(sessions::end_by_pattern(c))
    }),
    Entry::new("killCursors", |c| Box::pin(cursor::kill(c))).transactional(),
    Entry::new("killOp", |c| Box::pin(server::kill_op(c))),
    Entry::new("killSessions", |c| Box::pin(sessions::end(c))),
    Entry::new("listCollections", |c| Box::pin(schema::list_collections(c))).transactional(),
    Entry::new("listCommands", |c| Box::pin(server::list_commands(c))).open(),
    Entry::new("listDatabases", |c| Box::pin(schema::list_databases(c))),
    Entry::new("listIndexes", |c| Box::pin(schema::list_indexes(c))).transactional(),
    Entry::new("logout", |c| Box::pin(login::logout(c)))
        .open()
        .local(),
    Entry::new("ping", |c| Box::pin(server::ping(c))).open(),
    Entry::new("profile", |c| Box::pin(server::profile(c))),
    Entry::new("refreshSessions", |c| Box::pin(sessions::refresh(c))),
    Entry::new("renameCollection", |c| Box::pin(schema::rename(c))),
    Entry::new("revokePrivilegesFromRole", |c| {
        Box::pin(roles::none_of_ones_own(c))
    }),
    Entry::new("revokeRolesFromRole", |c| {
        Box::pin(roles::none_of_ones_own(c))
    }),
    Entry::new("revokeRolesFromUser", |c| Box::pin(roles::revoke(c))),
    Entry::new("rolesInfo", |c| Box::pin(users::roles_info(c))),
    Entry::new("saslContinue", |c| Box::pin(login::go_on(c)))
        .open()
        .local(),
    Entry::new("saslStart", |c| Box::pin(login::start(c)))
        .open()
        .local(),
    Entry::new("serverStatus", |c| Box::pin(server::status(c))),
    Entry::new("setParameter", |c| Box::pin(server::set_parameter(c))),
    Entry::new("startSession", |c| Box::pin(sessions::start(c))),
    Entry::new("top", |c| Box::pin(server::top(c))),
    Entry::new("update", |c| Box::pin(hint::update(c))).transactional(),
    Entry::new("updateRole", |c| Box::pin(users::update_role(c))),
    Entry::new("updateSearchIndex", |c| Box::pin(schema::search_index(c))),
    Entry::new("updateUser", |c| Box::pin(users::update_user(c))),
    Entry::new("usersInfo", |c| Box::pin(users::users_info(c))),
    Entry::new("validate", |c| Box::pin(schema::validate(c))),
    Entry::new("whatsmyuri", |c| Box::pin(server::address(c)))
        .open()
        .local(),
];

/// Looks a command up.
pub(crate) fn find(name: &str) -> Result<&'static Entry, Fault> {
    let at = COMMANDS.binary_search_by(|entry| entry.name.cmp(name));
    let entry = at.ok().and_then(|at| COMMANDS.get(at));
    entry.ok_or_else(|| {
        Fault::new(
            known::COMMAND_NOT_FOUND,
            format_args!("no such command: '{name}'"),
        )
    })
}

/// What is not answered here.
static FORWARDED: Entry = Entry::new("", |c| Box::pin(forward::relay(c))).relaying();

/// Who handles a command where commands are forwarded; what isn't known here may be known there.
pub(crate) fn forwarded(name: &str, known: bool) -> &'static Entry {
    match find(name) {
        // A stranger gets no further than to us.
        Ok(entry) if entry.local || (entry.open && !known) => entry,
        _ => &FORWARDED,
    }
}

/// Every command's name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|entry| entry.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_order() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(COMMANDS.iter().all(|entry| find(entry.name).is_ok()));
        assert!(find("nope").is_err());
    }

    #[test]
    fn logins_are_never_forwarded() {
        for name in [
            "hello",
            "isMaster",
            "saslStart",
            "saslContinue",
            "authenticate",
            "logout",
        ] {
            assert!(!forwarded(name, true).relays, "{name}");
        }
        assert!(forwarded("find", true).relays);
        assert!(forwarded("unheardOf", true).relays);
        assert!(!forwarded("ping", false).relays && forwarded("ping", true).relays);
    }

    #[test]
    fn strangers_may_do_little() {
        for entry in COMMANDS.iter().filter(|entry| entry.open) {
            assert!(!entry.in_transaction, "{}", entry.name);
        }
    }
}
