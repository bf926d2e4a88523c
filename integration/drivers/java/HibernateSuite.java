// Hibernate against the port, over pgjdbc: one file, run with the jars on the class path. Annotations go
// the way Hibernate's users send comments: `setComment` with `hibernate.use_sql_comments`, and a
// `StatementInspector` for the statements that Hibernate writes itself.

import static checks.Checks.annotated;
import static checks.Checks.check;
import static checks.Checks.equal;

import checks.Checks;
import checks.Checks.Check;
import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.FetchType;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.JoinColumn;
import jakarta.persistence.JoinTable;
import jakarta.persistence.LockModeType;
import jakarta.persistence.ManyToMany;
import jakarta.persistence.ManyToOne;
import jakarta.persistence.OneToMany;
import jakarta.persistence.OrderBy;
import jakarta.persistence.Table;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.SQLException;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import org.hibernate.ScrollMode;
import org.hibernate.ScrollableResults;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.annotations.JdbcTypeCode;
import org.hibernate.cfg.Configuration;
import org.hibernate.resource.jdbc.spi.StatementInspector;
import org.hibernate.type.SqlTypes;
import org.postgresql.PGConnection;

public class HibernateSuite {
    private static final String URL = System.getenv("TWINPORT_TEST_URL");
    private static final String SINGLE_URL = System.getenv("TWINPORT_TEST_SINGLE_URL");

    @Entity(name = "Author")
    @Table(name = "authors")
    static class Author {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Integer id;
        String name;
        String email;
        @OneToMany(mappedBy = "author")
        @OrderBy("id")
        List<Book> books = new ArrayList<>();

        Author() {
        }

        Author(String name, String email) {
            this.name = name;
            this.email = email;
        }
    }

    @Entity(name = "Publisher")
    @Table(name = "publishers")
    static class Publisher {
        @Id
        Integer id;
        String name;
        String city;

        // What is fetched late is not read by its fields.
        String getCity() {
            return city;
        }
    }

    @Entity(name = "Tag")
    @Table(name = "tags")
    static class Tag {
        @Id
        Integer id;
        String name;
    }

    @Entity(name = "Book")
    @Table(name = "books")
    static class Book {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Integer id;
        String title;
        BigDecimal price;
        @ManyToOne(fetch = FetchType.LAZY)
        @JoinColumn(name = "author_id")
        Author author;
        @ManyToOne(fetch = FetchType.LAZY)
        @JoinColumn(name = "publisher_id")
        Publisher publisher;
        @ManyToMany
        @JoinTable(name = "book_tags", joinColumns = @JoinColumn(name = "book_id"), inverseJoinColumns = @JoinColumn(name = "tag_id"))
        @OrderBy("id")
        List<Tag> tags;
    }

    @Entity(name = "Scratch")
    @Table(name = "scratch")
    static class Scratch {
        @Id
        Integer id;
        String body;

        Scratch() {
        }

        Scratch(int id, String body) {
            this.id = id;
            this.body = body;
        }
    }

    @Entity(name = "Types")
    @Table(name = "types")
    static class Types {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Integer id;
        BigDecimal num;
        byte[] bytes;
        OffsetDateTime at;
        Boolean flag;
        Long big;
        Double real8;
        UUID uid;
        Integer[] ints;
        String[] texts;
        @JdbcTypeCode(SqlTypes.NAMED_ENUM)
        @Column(columnDefinition = "mood")
        Mood mood;
        String nothing;
    }

    enum Mood { calm, keen }

    interface Use {
        void on(Session session) throws Exception;
    }

    static void fails(String state, Check check) throws Exception {
        Checks.fails(RuntimeException.class, HibernateSuite::state, state, check);
    }

    // The SQLSTATE of what is behind Hibernate's error.
    static Object state(RuntimeException error) {
        Throwable cause = error;
        while (cause != null && !(cause instanceof SQLException)) {
            cause = cause.getCause();
        }
        return cause == null ? error : ((SQLException) cause).getSQLState();
    }

    static SessionFactory factory(String url, String... options) {
        return configuration(url, options).buildSessionFactory();
    }

    static Configuration configuration(String url, String... options) {
        URI parts = URI.create(url);
        String[] account = parts.getUserInfo().split(":");
        Configuration made = new Configuration()
            .setProperty("hibernate.connection.url", "jdbc:postgresql://" + parts.getHost() + ":" + parts.getPort() + parts.getPath())
            .setProperty("hibernate.connection.username", account[0])
            .setProperty("hibernate.connection.password", account[1])
            .setProperty("hibernate.connection.sslmode", "verify-full")
            .setProperty("hibernate.connection.sslrootcert", System.getenv("TWINPORT_TEST_CA"))
            .setProperty("hibernate.connection.channelBinding", "require")
            .setProperty("hibernate.connection.pool_size", "12")
            .setProperty("hibernate.jdbc.batch_size", "50")
            .setProperty("hibernate.use_sql_comments", "true");
        for (int at = 0; at < options.length; at += 2) {
            made.setProperty(options[at], options[at + 1]);
        }
        for (Class<?> entity : List.of(Author.class, Book.class, Publisher.class, Tag.class, Scratch.class, Types.class)) {
            made.addAnnotatedClass(entity);
        }
        return made;
    }

    static void session(SessionFactory factory, Use use) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            try {
                use.on(session);
                if (session.getTransaction().isActive()) {
                    session.getTransaction().commit();
                }
            } finally {
                if (session.getTransaction().isActive()) {
                    session.getTransaction().rollback();
                }
            }
        }
    }

    static Object scalar(Session session, String sql) {
        return session.createNativeQuery(sql, Object.class).getSingleResult();
    }

    public static void main(String[] args) {
        java.util.logging.Logger.getLogger("org.hibernate").setLevel(java.util.logging.Level.SEVERE);
        // A class that is run from its source is known to its own loader only.
        Thread.currentThread().setContextClassLoader(HibernateSuite.class.getClassLoader());
        SessionFactory library = factory(URL);
        check("connect_scram_tls", () -> session(library, session -> {
            equal(scalar(session, "SELECT current_user"), "app");
            equal(session.doReturningWork(connection -> connection.isWrapperFor(PGConnection.class)), true);
        }));
        check("types_round_trip", () -> types(library));
        check("entities_and_relations", () -> relations(library));
        check("statements_reused", () -> session(library, session -> {
            // pgjdbc names a statement when it has run five times.
            for (int turn = 0; turn < 20; turn++) {
                session.clear();
                equal(session.find(Book.class, 1 + turn % 6).id, 1 + turn % 6);
            }
        }));
        check("transaction_and_error", () -> transaction(library));
        check("error_then_usable", () -> session(library, session -> {
            fails("42703", () -> scalar(session, "SELECT nope FROM books"));
            fails("25P02", () -> scalar(session, "SELECT 1"));
            session.getTransaction().rollback();
            session.beginTransaction();
            equal(scalar(session, "SELECT 1"), 1);
        }));
        check("batch_insert", () -> batch(library));
        check("scroll_with_fetch_size", () -> scroll(library));
        check("own_upsert", () -> ownUpsert(library));
        check("lock_and_timeout", () -> lock(library));
        check("settings_apart", HibernateSuite::settingsApart);
        check("more_clients_than_connections", () -> manyClients(library));
        annotated("include_by_comment", () -> include(library));
        annotated("include_of_nothing_known", () -> session(library, session -> {
            fails("42703", () -> session.createNativeQuery("SELECT id FROM authors", Object.class).setComment("@include(boks)").getResultList());
        }));
        annotated("upsert_by_comment", () -> upsertByComment(library));
        annotated("upsert_by_inspector", HibernateSuite::upsertByInspector);
        library.close();
        Checks.end();
    }

    static void types(SessionFactory library) throws Exception {
        byte[] bytes = new byte[256];
        for (int at = 0; at < 256; at++) {
            bytes[at] = (byte) at;
        }
        OffsetDateTime at = OffsetDateTime.parse("2024-02-29T23:59:59.123456Z");
        UUID uid = UUID.fromString("c0ffee00-0000-4000-8000-000000000001");
        for (int turn = 0; turn < 7; turn++) {
            session(library, session -> {
                Types made = new Types();
                made.num = new BigDecimal("12345678901234567890.000000000123");
                made.bytes = bytes;
                made.at = at;
                made.flag = true;
                made.big = Long.MIN_VALUE;
                made.real8 = 0.1;
                made.uid = uid;
                made.ints = new Integer[] {1, null, -3};
                made.texts = new String[] {"a\"b", "c,d", "", "NULL", "é"};
                made.mood = Mood.keen;
                session.persist(made);
                session.flush();
                session.clear();
                Types got = session.find(Types.class, made.id);
                equal(got.num, made.num);
                equal(got.bytes, bytes);
                equal(got.at.withOffsetSameInstant(ZoneOffset.UTC), at);
                equal(List.of(got.flag, got.big, got.real8, got.uid, got.mood), List.of(true, Long.MIN_VALUE, 0.1, uid, Mood.keen));
                equal(got.ints, made.ints);
                equal(got.texts, made.texts);
                equal(got.nothing, null);
                session.remove(got);
            });
        }
    }

    static void relations(SessionFactory library) throws Exception {
        session(library, session -> {
            String query = "select distinct a from Author a left join fetch a.books where a.id < :id order by a.id";
            List<Author> authors = session.createQuery(query, Author.class).setParameter("id", 3).getResultList();
            equal(authors.stream().map(author -> author.books.size()).toList(), List.of(3, 2));
            Book book = authors.get(1).books.get(0);
            equal(List.of(book.title, book.publisher.getCity()), List.of("Small Gods", "London"));
            equal(book.tags.stream().map(tag -> tag.name).toList(), List.of("classic", "funny"));
            Object sum = session.createQuery("select sum(b.price) from Book b where b.author.email = :email", BigDecimal.class)
                .setParameter("email", "ursula@example.org").getSingleResult();
            equal(sum, new BigDecimal("22.49"));
        });
    }

    static void transaction(SessionFactory library) throws Exception {
        fails("23505", () -> session(library, session -> {
            session.persist(new Author("New", "hibernate@example.org"));
            session.persist(new Author("Twin", "hibernate@example.org"));
        }));
        session(library, session -> {
            equal(scalar(session, "SELECT count(*) FROM authors WHERE email = 'hibernate@example.org'"), 0L);
            // Managed objects are written when the transaction ends.
            Author author = session.find(Author.class, 4);
            author.name = "changed";
            session.flush();
            equal(scalar(session, "SELECT name FROM authors WHERE id = 4"), "changed");
            session.getTransaction().rollback();
            session.beginTransaction();
            equal(scalar(session, "SELECT name FROM authors WHERE id = 4"), "No Books \"Yet\"");
        });
    }

    static void batch(SessionFactory library) throws Exception {
        session(library, session -> {
            for (int id = 0; id < 2000; id++) {
                session.persist(new Scratch(id, "row " + id + " é"));
            }
        });
        session(library, session -> {
            equal(scalar(session, "SELECT count(*) FROM scratch"), 2000L);
            equal(session.createMutationQuery("delete from Scratch where id >= :id").setParameter("id", 0).executeUpdate(), 2000);
        });
    }

    static void scroll(SessionFactory library) throws Exception {
        session(library, session -> {
            long sum = 0;
            try (ScrollableResults<Integer> rows = session.createNativeQuery("SELECT n FROM generate_series(1, 1000) AS n", Integer.class)
                .setFetchSize(37).scroll(ScrollMode.FORWARD_ONLY)) {
                while (rows.next()) {
                    sum += rows.get();
                }
            }
            equal(sum, 500500L);
        });
    }

    static void ownUpsert(SessionFactory library) throws Exception {
        library.inStatelessTransaction(session -> {
            session.upsert(new Scratch(1, "first"));
            session.upsert(new Scratch(1, "second"));
            equal(session.get(Scratch.class, 1).body, "second");
            session.delete(new Scratch(1, null));
        });
    }

    static void lock(SessionFactory library) throws Exception {
        session(library, one -> {
            one.find(Author.class, 1, LockModeType.PESSIMISTIC_WRITE);
            fails("57014", () -> session(library, two -> two.createQuery("from Author where id = 1", Author.class)
                .setLockMode(LockModeType.PESSIMISTIC_WRITE).setHint("jakarta.persistence.query.timeout", 1000).getResultList()));
            equal(scalar(one, "SELECT 1"), 1);
        });
    }

    static void settingsApart() throws Exception {
        try (SessionFactory a = factory(SINGLE_URL, "hibernate.connection.currentSchema", "tenant_a");
             SessionFactory b = factory(SINGLE_URL, "hibernate.connection.currentSchema", "tenant_b")) {
            for (int turn = 0; turn < 8; turn++) {
                session(a, session -> equal(scalar(session, "SELECT owner FROM secrets"), "a"));
                session(b, session -> equal(scalar(session, "SELECT owner FROM secrets"), "b"));
            }
        }
    }

    static void manyClients(SessionFactory library) throws Exception {
        Checks.together(number -> {
            for (int turn = 0; turn < 20; turn++) {
                int id = 1 + (number + turn) % 6;
                session(library, session -> equal(session.find(Book.class, id).id, id));
            }
        });
    }

    static void include(SessionFactory library) throws Exception {
        session(library, session -> {
            String sql = "SELECT id, name FROM authors WHERE id = :id";
            for (int turn = 0; turn < 7; turn++) {
                Object[] row = session.createNativeQuery(sql, Object[].class).setParameter("id", 2)
                    .setComment("@include(books(order: id))").getSingleResult();
                equal(Arrays.copyOf(row, 2), new Object[] {2, "Terry Pratchett"});
                String books = (String) row[2];
                equal(books.indexOf("Small Gods") > 0 && books.indexOf("Small Gods") < books.indexOf("Mort"), true);
            }
            Object books = session.createNativeQuery(sql, Object.class).setParameter("id", 4)
                .setComment("@include(books)").addScalar("books", String.class).getSingleResult();
            equal(books, "[]");
            // A query in Hibernate's own language takes the columns that it knows.
            List<String> names = session.createQuery("select a.name from Author a where a.id = 2", String.class)
                .setComment("@include(books)").getResultList();
            equal(names, List.of("Terry Pratchett"));
        });
    }

    static void upsertByComment(SessionFactory library) throws Exception {
        session(library, session -> {
            for (String name : List.of("First", "Second")) {
                session.createNativeMutationQuery("INSERT INTO authors (name, email) VALUES (:name, 'hibernate@example.org')")
                    .setParameter("name", name).setComment("@upsert(email)").executeUpdate();
            }
            equal(scalar(session, "SELECT name FROM authors WHERE email = 'hibernate@example.org'"), "Second");
            session.getTransaction().rollback();
        });
    }

    static void upsertByInspector() throws Exception {
        StatementInspector inspector = sql -> sql.contains("into authors") ? "/* @upsert(email) */ " + sql : sql;
        Configuration configuration = configuration(URL);
        configuration.getProperties().put("hibernate.session_factory.statement_inspector", inspector);
        try (SessionFactory inspected = configuration.buildSessionFactory()) {
            session(inspected, session -> {
                Author first = new Author("First", "hibernate@example.org");
                session.persist(first);
                session.detach(first);
                Author second = new Author("Second", "hibernate@example.org");
                session.persist(second);
                equal(second.id, first.id);
                equal(scalar(session, "SELECT name FROM authors WHERE id = " + first.id), "Second");
                session.getTransaction().rollback();
            });
        }
    }
}
