package checks;

import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Objects;
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
