"""A Django project in one file, against the port.

Annotations go the way Django users send comments: an `execute_wrapper` that
puts one before the statements of a block, and `Manager.raw`.
"""

import contextlib
import threading
from decimal import Decimal

import django
from django.conf import settings
from django.db import models

from checks import CA, SINGLE_URL, URL, Parts, annotated, check, equal, main


def database(url, **options):
    parts = Parts(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.host,
        "PORT": parts.port,
        "NAME": parts.database,
        "USER": parts.user,
        "PASSWORD": parts.password,
        "OPTIONS": {"sslmode": "verify-full", "sslrootcert": CA, **options},
    }


settings.configure(
    DATABASES={
        "default": database(URL),
        "bound": database(URL, server_side_binding=True),
        "tenant_a": database(SINGLE_URL, options="-c search_path=tenant_a"),
        "tenant_b": database(SINGLE_URL, options="-c search_path=tenant_b"),
    },
    INSTALLED_APPS=[],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.db import IntegrityError, connection, connections, transaction  # noqa: E402


class Author(models.Model):
    name = models.TextField()
    email = models.TextField(unique=True)

    class Meta:
        app_label = "library"
        db_table = "authors"


class Book(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    title = models.TextField()
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)

    class Meta:
        app_label = "library"
        db_table = "books"


class Scratch(models.Model):
    id = models.IntegerField(primary_key=True)
    body = models.TextField(null=True)

    class Meta:
        app_label = "library"
        db_table = "scratch"


class Secret(models.Model):
    owner = models.TextField()

    class Meta:
        app_label = "library"
        db_table = "secrets"


@contextlib.contextmanager
def annotation(note, using=connection):
    """Puts `/* note */` before every statement of the block."""

    def wrapper(execute, sql, params, many, context):
        return execute(f"/* {note} */ {sql}", params, many, context)

    with using.execute_wrapper(wrapper):
        yield


@check
def connect_scram_tls():
    connection.ensure_connection()
    equal(connection.connection.pgconn.ssl_in_use, True, "TLS in use")
    assert connection.pg_version >= 150000


@check
def queries_and_relations():
    rows = Book.objects.select_related("author").filter(author__name__startswith="Terry").order_by("id")
    equal([(book.title, book.author.email) for book in rows], [("Small Gods", "terry@example.org"), ("Mort", "terry@example.org")])
    authors = Author.objects.prefetch_related("books").order_by("id")[:2]
    equal([len(author.books.all()) for author in authors], [3, 2])
    equal(Book.objects.aggregate(total=models.Sum("price"))["total"], Decimal("47.99"))


@check
def server_side_binding():
    rows = Book.objects.using("bound").filter(price__gt=Decimal("9.99"), author_id__in=[1, 3]).order_by("id")
    equal([book.title for book in rows], ["The Dispossessed", 'Good "Omens" — naïve'])


@check
def transaction_and_savepoint():
    Scratch.objects.all().delete()
    with transaction.atomic():
        Scratch.objects.create(id=1, body="kept")
        try:
            with transaction.atomic():
                Scratch.objects.create(id=2, body="undone")
                Scratch.objects.create(id=1, body="twice")
        except IntegrityError:
            pass
        Scratch.objects.create(id=3, body="kept")
    equal(sorted(Scratch.objects.values_list("id", flat=True)), [1, 3])
    Scratch.objects.all().delete()


@check
def server_side_iterator():
    Scratch.objects.bulk_create(Scratch(id=number, body="x") for number in range(3000))
    equal(sum(1 for _ in Scratch.objects.order_by("id").iterator(chunk_size=500)), 3000)
    Scratch.objects.all().delete()


@check
def bulk_upsert():
    people = [Author(name=f"n{number}", email=f"bulk{number}@example.org") for number in range(20)]
    for _ in range(2):
        Author.objects.bulk_create(people, update_conflicts=True, unique_fields=["email"], update_fields=["name"])
    equal(Author.objects.filter(email__startswith="bulk").delete()[0], 20)


@check
def settings_apart():
    for _ in range(4):
        equal(Secret.objects.using("tenant_a").get().owner, "a")
        equal(Secret.objects.using("tenant_b").get().owner, "b")


@check
def threads_share_the_pool():
    wrong = []

    def work(number):
        try:
            for _ in range(10):
                equal(Book.objects.get(id=1 + number % 5).author_id, Book.objects.filter(id=1 + number % 5).values_list("author_id", flat=True)[0])
        except Exception as error:
            wrong.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(wrong, [])


@check
def introspection():
    with connection.cursor() as cursor:
        assert "book_tags" in connection.introspection.table_names(cursor)
        keys = connection.introspection.get_relations(cursor, "books")
        equal(keys["author_id"][:2], ("id", "authors"))


@annotated
def include_by_raw():
    sql = "/* @include(publisher) */ SELECT id, title, author_id FROM books WHERE id = %s"
    book = Book.objects.raw(sql, [4])[0]
    equal((book.title, book.publisher["city"]), ("Small Gods", "London"))


@annotated
def include_by_execute_wrapper():
    with annotation("@include(books(order: id))"), connection.cursor() as cursor:
        cursor.execute("SELECT id, name FROM authors WHERE id = %s", [2])
        row = cursor.fetchone()
    equal([book["title"] for book in row[2]], ["Small Gods", "Mort"])


@annotated
def upsert_by_execute_wrapper():
    with transaction.atomic():
        for name in ("First", "Second"):
            with annotation("@upsert(email)"):
                author = Author.objects.create(name=name, email="django@example.org")
        equal(Author.objects.get(email="django@example.org").name, "Second")
        equal(Author.objects.get(email="django@example.org").id, author.id)
        transaction.set_rollback(True)


if __name__ == "__main__":
    main()
