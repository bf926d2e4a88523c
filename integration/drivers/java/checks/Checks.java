package checks;

import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * What every Java suite shares: the contract with the harness. A suite runs named checks, prints `ok NAME` or
 * `not ok NAME: reason` for each, and exits non-zero if any failed. scripts/setup-drivers.sh compiles this file; the
 * suites are run from their source.
 */
public final class Checks {
    private static final boolean ANNOTATED = "1".equals(System.getenv("TWINPORT_TEST_ANNOTATED"));
    private static int failed = 0;

    private Checks() {
    }

    /** What may fail. */
    public interface Check {
        void run() throws Exception;
    }

    public static void check(String name, Check check) {
        try {
            check.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            failed++;
            System.out.println("not ok " + name + ": " + String.valueOf(error).replaceAll("\\s+", " "));
            error.printStackTrace();
        }
    }

    /** A check that makes sense only through the port. */
    public static void annotated(String name, Check check) {
        if (ANNOTATED) {
            check(name, check);
        }
    }

    public static void equal(Object got, Object expected) {
        if (!Objects.deepEquals(got, expected)) {
            throw new AssertionError("expected " + expected + ", got " + got);
        }
    }

    /** Runs what must fail with an error of this kind, of which `code` tells what is expected. */
    public static <E extends Exception> E fails(Class<E> kind, Function<E, Object> code, Object expected, Check check)
            throws Exception {
        try {
            check.run();
        } catch (Exception error) {
            if (!kind.isInstance(error)) {
                throw error;
            }
            equal(code.apply(kind.cast(error)), expected);
            return kind.cast(error);
        }
        throw new AssertionError("expected " + expected + ", but there was no error");
    }

    /** One of many clients, by its number. */
    public interface Client {
        void run(int number) throws Exception;
    }

    /** Runs twelve clients side by side. */
    public static void together(Client client) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(12);
        List<Future<?>> runs = new ArrayList<>();
        for (int number = 0; number < 12; number++) {
            int mine = number;
            runs.add(threads.submit(() -> {
                client.run(mine);
                return null;
            }));
        }
        for (Future<?> run : runs) {
            run.get(60, TimeUnit.SECONDS);
        }
        threads.shutdown();
    }

    /** Leaves with the verdict. */
    public static void end() {
        System.exit(failed == 0 ? 0 : 1);
    }

    /** The harness' authority, for drivers that take theirs from Java and not from the connection string. */
    public static SSLContext trust() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream file = new FileInputStream(System.getenv("TWINPORT_TEST_CA"))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
