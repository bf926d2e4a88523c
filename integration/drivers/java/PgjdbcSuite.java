// pgjdbc against the port: one file, run with the driver's jar on the class path.

import static checks.Checks.annotated;
import static checks.Checks.check;
import static checks.Checks.equal;

import checks.Checks;
import checks.Checks.Check;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

public class PgjdbcSuite {
    private static final String URL = System.getenv("TWINPORT_TEST_URL");
    private static final String SINGLE_URL = System.getenv("TWINPORT_TEST_SINGLE_URL");

    static Connection connect(String url, String... options) throws SQLException {
        URI parts = URI.create(url);
        String[] account = parts.getUserInfo().split(":");
        Properties properties = new Properties();
        properties.setProperty("user", account[0]);
        properties.setProperty("password", account[1]);
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("TWINPORT_TEST_CA"));
        properties.setProperty("loginTimeout", "10");
        for (int at = 0; at < options.length; at += 2) {
            properties.setProperty(options[at], options[at + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + parts.getHost() + ":" + parts.getPort() + parts.getPath(), properties);
    }

    static Object scalar(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            ResultSet rows = statement.executeQuery();
            rows.next();
            return rows.getObject(1);
        }
    }

    static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    static SQLException fails(String state, Check check) throws Exception {
        return Checks.fails(SQLException.class, SQLException::getSQLState, state, check);
    }

    public static void main(String[] args) {
        check("connect_scram_tls", () -> {
            try (Connection connection = connect(URL, "channelBinding", "require")) {
                equal(scalar(connection, "SELECT current_user"), "app");
            }
        });
        check("wrong_password_refused", () -> fails("28P01", () -> connect(URL, "password", "not-it").close()));
        check("types_text", () -> types(connect(URL, "binaryTransfer", "false")));
        check("types_binary", () -> types(connect(URL, "prepareThreshold", "-1")));
        check("prepared_reuse", PgjdbcSuite::preparedReuse);
        check("simple_query_mode", PgjdbcSuite::simpleQueryMode);
        check("transaction_and_savepoint", PgjdbcSuite::transactionAndSavepoint);
        check("error_then_usable", PgjdbcSuite::errorThenUsable);
        check("batch", PgjdbcSuite::batch);
        check("portal_with_fetch_size", PgjdbcSuite::portalWithFetchSize);
        check("copy_in_and_out", PgjdbcSuite::copyInAndOut);
        check("cancel", PgjdbcSuite::cancel);
        check("query_timeout", () -> {
            try (Connection connection = connect(URL); Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
                equal(scalar(connection, "SELECT 1"), 1);
            }
        });
        check("settings_apart", PgjdbcSuite::settingsApart);
        check("schema_and_read_only", PgjdbcSuite::schemaAndReadOnly);
        check("listen_notify", PgjdbcSuite::listenNotify);
        check("metadata", () -> {
            try (Connection connection = connect(URL)) {
                ResultSet keys = connection.getMetaData().getImportedKeys(null, "public", "book_tags");
                List<String> tables = new ArrayList<>();
                while (keys.next()) {
                    tables.add(keys.getString("PKTABLE_NAME"));
                }
                equal(tables, List.of("books", "tags"));
            }
        });
        check("more_clients_than_connections", () -> Checks.together(number -> {
            try (Connection connection = connect(URL)) {
                for (int turn = 0; turn < 20; turn++) {
                    equal(scalar(connection, "SELECT ?::int", number * 100 + turn), number * 100 + turn);
                }
            }
        }));
        annotated("include", PgjdbcSuite::include);
        annotated("include_of_nothing_known", () -> {
            try (Connection connection = connect(URL)) {
                try {
                    scalar(connection, "/* @include(boks) */ SELECT id FROM authors");
                    throw new AssertionError("an unknown relation was let through");
                } catch (SQLException error) {
                    equal(List.of("42703", "42P01").contains(error.getSQLState()), true);
                }
                equal(scalar(connection, "SELECT 1"), 1);
            }
        });
        annotated("upsert", PgjdbcSuite::upsert);
        Checks.end();
    }

    static void types(Connection connection) throws Exception {
        byte[] bytes = new byte[256];
        for (int at = 0; at < 256; at++) {
            bytes[at] = (byte) at;
        }
        String sql = "INSERT INTO types (num, bytes, at, flag, big, real8, ints, texts, doc, mood, nothing) "
            + "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?::mood, ?) "
            + "RETURNING num, bytes, at, flag, big, real8, ints, texts, doc, mood, nothing";
        try (connection; PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int turn = 0; turn < 7; turn++) {
                OffsetDateTime at = OffsetDateTime.parse("2024-02-29T23:59:59.123456Z");
                Integer[] ints = {1, null, 3};
                String[] texts = {"a\"b", "c,d", "", "NULL", "é"};
                statement.setBigDecimal(1, new BigDecimal("12345678901234567890.000000000123"));
                statement.setBytes(2, bytes);
                statement.setObject(3, at);
                statement.setBoolean(4, true);
                statement.setLong(5, Long.MIN_VALUE);
                statement.setDouble(6, 0.1);
                statement.setArray(7, connection.createArrayOf("int4", ints));
                statement.setArray(8, connection.createArrayOf("text", texts));
                statement.setString(9, "{\"a\": [1, 2.5, null]}");
                statement.setString(10, "Very Keen");
                statement.setNull(11, Types.VARCHAR);
                ResultSet row = statement.executeQuery();
                row.next();
                equal(row.getBigDecimal(1), new BigDecimal("12345678901234567890.000000000123"));
                equal(row.getBytes(2), bytes);
                equal(row.getObject(3, OffsetDateTime.class).toInstant(), at.toInstant());
                equal(row.getBoolean(4), true);
                equal(row.getLong(5), Long.MIN_VALUE);
                equal(row.getDouble(6), 0.1);
                Array gotInts = row.getArray(7);
                equal(gotInts.getArray(), ints);
                equal(row.getArray(8).getArray(), texts);
                equal(row.getString(9), "{\"a\": [1, 2.5, null]}");
                equal(row.getString(10), "Very Keen");
                equal(row.getString(11), null);
            }
        }
    }

    static void preparedReuse() throws Exception {
        List<Connection> clients = new ArrayList<>();
        for (int number = 0; number < 9; number++) {
            clients.add(connect(URL, "prepareThreshold", number % 2 == 0 ? "1" : "5"));
        }
        for (int turn = 0; turn < 8; turn++) {
            for (int number = 0; number < clients.size(); number++) {
                String sql = "SELECT ?::int + " + number % 3;
                equal(scalar(clients.get(number), sql, turn), turn + number % 3);
            }
        }
        for (Connection client : clients) {
            client.close();
        }
    }

    static void simpleQueryMode() throws Exception {
        try (Connection connection = connect(URL, "preferQueryMode", "simple")) {
            equal(scalar(connection, "SELECT ?::int - ?", 1, -1), 2);
        }
    }

    static void transactionAndSavepoint() throws Exception {
        try (Connection connection = connect(URL)) {
            run(connection, "DELETE FROM scratch");
            connection.setAutoCommit(false);
            run(connection, "INSERT INTO scratch VALUES (1, 'kept')");
            Savepoint here = connection.setSavepoint("here");
            fails("23505", () -> run(connection, "INSERT INTO scratch VALUES (1, 'twice')"));
            fails("25P02", () -> run(connection, "SELECT 1"));
            connection.rollback(here);
            run(connection, "INSERT INTO scratch VALUES (3, 'kept')");
            connection.commit();
            equal(scalar(connection, "SELECT count(*) FROM scratch"), 2L);
            run(connection, "DELETE FROM scratch");
            connection.rollback();
            equal(scalar(connection, "SELECT count(*) FROM scratch"), 2L);
            connection.rollback();
        }
    }

    static void errorThenUsable() throws Exception {
        try (Connection connection = connect(URL)) {
            for (int turn = 0; turn < 7; turn++) {
                fails("22012", () -> scalar(connection, "SELECT 1 / ?::int", 0));
                fails("42703", () -> scalar(connection, "SELECT nope FROM books"));
                equal(scalar(connection, "SELECT 1"), 1);
            }
        }
    }

    static void batch() throws Exception {
        try (Connection connection = connect(URL, "reWriteBatchedInserts", "true")) {
            run(connection, "DELETE FROM scratch");
            try (PreparedStatement statement = connection.prepareStatement("INSERT INTO scratch VALUES (?, ?)")) {
                for (int number = 0; number < 2000; number++) {
                    statement.setInt(1, number);
                    statement.setString(2, "x");
                    statement.addBatch();
                }
                statement.executeBatch();
            }
            equal(scalar(connection, "SELECT count(*) FROM scratch"), 2000L);
            run(connection, "DELETE FROM scratch");
        }
    }

    static void portalWithFetchSize() throws Exception {
        try (Connection connection = connect(URL)) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(37);
                ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 1000) AS n");
                long sum = 0;
                int seen = 0;
                while (rows.next()) {
                    sum += rows.getInt(1);
                    if (++seen % 100 == 0) {
                        equal(scalar(connection, "SELECT 1"), 1);
                    }
                }
                equal(sum, 500500L);
            }
            connection.rollback();
        }
    }

    static void copyInAndOut() throws Exception {
        try (Connection connection = connect(URL)) {
            run(connection, "DELETE FROM scratch");
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int number = 0; number < 20000; number++) {
                lines.append(number).append("\trow ").append(number).append(" é\n");
            }
            equal(copy.copyIn("COPY scratch FROM STDIN", new StringReader(lines.toString())), 20000L);
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT * FROM scratch ORDER BY id) TO STDOUT", out);
            equal(out.toString(), lines.toString());
            run(connection, "DELETE FROM scratch");
            fails("22P02", () -> copy.copyIn("COPY scratch FROM STDIN", new StringReader("bad\n")));
            equal(scalar(connection, "SELECT count(*) FROM scratch"), 0L);
        }
    }

    static void cancel() throws Exception {
        try (Connection connection = connect(URL); Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(300);
                    statement.cancel();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            long began = System.nanoTime();
            canceller.start();
            fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
            canceller.join();
            equal(System.nanoTime() - began < 5_000_000_000L, true);
            equal(scalar(connection, "SELECT 1"), 1);
        }
    }

    static void settingsApart() throws Exception {
        try (Connection a = connect(SINGLE_URL, "ApplicationName", "first"); Connection b = connect(SINGLE_URL)) {
            run(a, "SET search_path = tenant_a");
            run(b, "SET search_path = tenant_b");
            b.setClientInfo("ApplicationName", "second");
            for (int turn = 0; turn < 8; turn++) {
                equal(scalar(a, "SELECT owner FROM secrets"), "a");
                equal(scalar(b, "SELECT owner FROM secrets"), "b");
                equal(scalar(a, "SHOW application_name"), "first");
                equal(scalar(b, "SHOW application_name"), "second");
            }
        }
    }

    static void schemaAndReadOnly() throws Exception {
        try (Connection a = connect(SINGLE_URL, "currentSchema", "tenant_a"); Connection b = connect(SINGLE_URL)) {
            b.setSchema("tenant_b");
            a.setReadOnly(true);
            a.setAutoCommit(false);
            equal(scalar(a, "SELECT owner FROM secrets"), "a");
            fails("25006", () -> run(a, "DELETE FROM secrets"));
            a.rollback();
            equal(scalar(b, "SELECT owner FROM secrets"), "b");
            b.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            equal(scalar(b, "SHOW transaction_isolation"), "serializable");
            equal(scalar(a, "SHOW default_transaction_isolation"), "read committed");
            a.rollback();
        }
    }

    static void listenNotify() throws Exception {
        try (Connection listener = connect(URL); Connection speaker = connect(URL)) {
            run(listener, "LISTEN news");
            run(speaker, "NOTIFY news, 'hello'");
            PGNotification[] heard = listener.unwrap(PGConnection.class).getNotifications(5000);
            equal(heard != null && heard.length == 1 ? heard[0].getParameter() : Arrays.toString(heard), "hello");
        }
    }

    static void include() throws Exception {
        String sql = "/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = ? ORDER BY id";
        try (Connection connection = connect(URL); PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int turn = 0; turn < 7; turn++) {
                statement.setInt(1, 2);
                ResultSet row = statement.executeQuery();
                row.next();
                equal(row.getMetaData().getColumnLabel(3), "books");
                equal(row.getString("books").indexOf("Small Gods") < row.getString("books").indexOf("Mort"), true);
                equal(row.getString("books").indexOf("Small Gods") > 0, true);
                equal(row.next(), false);
            }
        }
    }

    static void upsert() throws Exception {
        try (Connection connection = connect(URL)) {
            connection.setAutoCommit(false);
            String sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES (?, ?) RETURNING id";
            Object first = scalar(connection, sql, "First", "pgjdbc@example.org");
            Object second = scalar(connection, sql, "Second", "pgjdbc@example.org");
            equal(second, first);
            equal(scalar(connection, "SELECT name FROM authors WHERE id = ?", first), "Second");
            connection.rollback();
        }
    }
}
