//! PgBouncer: found on the machine, with the settings that the comparison needs.

use std::{
    env,
    path::{Path, PathBuf},
    process,
};

use tokio::process::Command;

use crate::{
    flags::Plan,
    ground::{Ground, NAME},
};

/// The first version that keeps prepared statements apart in transaction mode.
const PREPARED_SINCE: (u32, u32) = (1, 21);

/// A PgBouncer of this machine.
pub(crate) struct Installed {
    path: PathBuf,
    version: (u32, u32),
    /// As it names itself.
    pub(crate) label: String,
}

/// On PATH, or where Debian puts it.
pub(super) fn find() -> Option<Installed> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("pgbouncer"))
        .filter(|program| program.is_file())
        .find_map(installed)
}

fn installed(path: PathBuf) -> Option<Installed> {
    let output = process::Command::new(&path)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let label = text.lines().next()?.trim().to_owned();
    let version = version(&label)?;
    Some(Installed {
        path,
        version,
        label,
    })
}

/// `PgBouncer 1.18.0` is (1, 18).
fn version(label: &str) -> Option<(u32, u32)> {
    let mut numbers = label.rsplit(' ').next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Installed {
    pub(super) fn tracks_prepared_statements(&self) -> bool {
        self.version >= PREPARED_SINCE
    }

    pub(super) fn command(
        &self,
        ground: &Ground,
        plan: &Plan,
        port: u16,
    ) -> anyhow::Result<Command> {
        let user = format!("\"{NAME}\" \"{}\"\n", ground.verifier);
        let users = ground.write("pgbouncer-users", &user)?;
        let certificate = ground.write("pgbouncer.crt", &ground.identity.certificate)?;
        let key = ground.write("pgbouncer.key", &ground.identity.key)?;
        let mut settings = format!(
            "[databases]\n\
             {NAME} = host=127.0.0.1 port={upstream} dbname={NAME} user={NAME} password={NAME}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {users}\n\
             pool_mode = transaction\n\
             default_pool_size = {pool}\n\
             max_client_conn = 12000\n\
             client_tls_sslmode = allow\n\
             client_tls_cert_file = {certificate}\n\
             client_tls_key_file = {key}\n\
             server_tls_sslmode = disable\n\
             log_connections = 0\n\
             log_disconnections = 0\n\
             log_stats = 0\n",
            upstream = ground.server.port(),
            users = shown(&users),
            pool = plan.pool,
            certificate = shown(&certificate),
            key = shown(&key),
        );
        if self.tracks_prepared_statements() {
            settings.push_str("max_prepared_statements = 500\n");
        }
        let file = ground.write(&format!("pgbouncer-{port}.ini"), &settings)?;
        let mut command = ground.unprivileged(&self.path);
        command.arg(file);
        Ok(command)
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_read_from_the_label() {
        assert_eq!(version("PgBouncer 1.18.0"), Some((1, 18)));
        assert_eq!(version("PgBouncer 1.24.1"), Some((1, 24)));
        assert_eq!(version("PgBouncer"), None);
    }
}
