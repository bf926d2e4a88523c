// pgjdbc at the admin console: simple and extended protocol, with and without transactions. One file, run
// with the driver's jar on the class path.

import static checks.Checks.equal;

import checks.Checks;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Properties;

public class ConsoleSuite {
    private static final URI PARTS = URI.create(System.getenv("TWINPORT_TEST_URL"));
    private static final List<String> SHOWS = List.of("CLIENTS", "CONFIG", "DATABASES", "HELP", "LISTS", "POOLS", "SERVERS",
        "STATS", "STATS_TOTALS", "USERS", "VERSION");
    private static final List<String> MODES = List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything");

    interface Use {
        void on(Connection console) throws Exception;
    }

    // Runs the check in each of the driver's modes.
    static void check(String name, Use use) {
        Checks.check(name, () -> {
            for (String mode : MODES) {
                try (Connection console = connect(mode)) {
                    use.on(console);
                } catch (Exception | AssertionError error) {
                    throw new AssertionError(mode + ": " + error, error);
                }
            }
        });
    }

    static Connection connect(String mode) throws SQLException {
        String[] account = PARTS.getUserInfo().split(":");
        Properties properties = new Properties();
        properties.setProperty("user", account[0]);
        properties.setProperty("password", account[1]);
        properties.setProperty("sslmode", "disable");
        properties.setProperty("loginTimeout", "10");
        properties.setProperty("preferQueryMode", mode);
        return DriverManager.getConnection("jdbc:postgresql://" + PARTS.getHost() + ":" + PARTS.getPort() + PARTS.getPath(), properties);
    }

    static int count(Connection console, String command) throws SQLException {
        try (Statement statement = console.createStatement(); ResultSet rows = statement.executeQuery(command)) {
            int count = 0;
            while (rows.next()) {
                count++;
            }
            return count;
        }
    }

    public static void main(String[] args) {
        check("every_show", console -> {
            for (String subject : SHOWS) {
                equal(count(console, "SHOW " + subject) > 0, true);
            }
        });
        check("numbers_are_numbers", console -> {
            // The driver asks for numbers in binary format when it has run a statement five times.
            try (PreparedStatement statement = console.prepareStatement("SHOW LISTS")) {
                for (int turn = 0; turn < 7; turn++) {
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    equal(rows.getString("list"), "databases");
                    equal(rows.getObject("items"), 1L);
                }
            }
        });
        check("wrong_command_then_usable", console -> {
            try {
                count(console, "SHOW POOL");
                throw new AssertionError("a wrong command was taken");
            } catch (SQLException error) {
                equal(error.getSQLState(), "42601");
            }
            equal(count(console, "SHOW VERSION"), 1);
        });
        check("several_commands_at_once", console -> {
            try (Statement statement = console.createStatement()) {
                equal(statement.execute("SHOW VERSION; SHOW LISTS"), true);
                equal(statement.getResultSet().getMetaData().getColumnLabel(1), "version");
                equal(statement.getMoreResults(), true);
                equal(statement.getResultSet().getMetaData().getColumnLabel(1), "list");
            }
        });
        check("both_protocols", console -> {
            for (int turn = 0; turn < 7; turn++) {
                equal(count(console, "SHOW CONFIG") > 10, true);
            }
        });
        check("transactions_of_the_driver", console -> {
            console.setAutoCommit(false);
            equal(count(console, "SHOW VERSION"), 1);
            console.commit();
            equal(count(console, "SHOW VERSION"), 1);
            console.rollback();
            equal(console.isValid(5), true);
        });
        Checks.end();
    }
}
