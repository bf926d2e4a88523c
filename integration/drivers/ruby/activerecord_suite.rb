# ActiveRecord against the port, over libpq. Annotations go the way its users send comments:
# `annotate`, which puts them after the statement, and SQL of one's own. A suite runs named checks, prints
# `ok NAME` or `not ok NAME: reason` for each, and exits non-zero if any failed.
# frozen_string_literal: true

require "active_record"
require "uri"

URL = ENV.fetch("TWINPORT_TEST_URL")
SINGLE_URL = ENV.fetch("TWINPORT_TEST_SINGLE_URL")
ANNOTATED = ENV["TWINPORT_TEST_ANNOTATED"] == "1"
CHECKS = {}

def check(name, &run)
  CHECKS[name] = run
end

# A check that makes sense only through the port.
def annotated(name, &run)
  CHECKS[name] = run if ANNOTATED
end

def equal(got, expected)
  raise "expected #{expected.inspect}, got #{got.inspect}" unless got == expected
end

def fails(kind, state)
  yield
rescue kind => error
  equal((error.cause || error).result.error_field(PG::Result::PG_DIAG_SQLSTATE), state)
  error
else
  raise "expected #{kind}, but there was no error"
end

def config(url, **more)
  parts = URI.parse(url)
  {
    adapter: "postgresql",
    host: parts.host,
    port: parts.port,
    username: parts.user,
    password: parts.password,
    database: parts.path.delete_prefix("/"),
    sslmode: "verify-full",
    sslrootcert: ENV.fetch("TWINPORT_TEST_CA"),
    pool: 12,
    **more
  }
end

class Author < ActiveRecord::Base
  has_many :books, -> { order(:id) }
  has_many :pupils, class_name: "Author", foreign_key: "mentor_id"
end

class Publisher < ActiveRecord::Base
end

class Tag < ActiveRecord::Base
end

class Book < ActiveRecord::Base
  belongs_to :author
  belongs_to :publisher, optional: true
  has_and_belongs_to_many :tags, -> { order(:id) }, join_table: "book_tags"
end

class Type < ActiveRecord::Base
end

class Scratch < ActiveRecord::Base
  self.table_name = "scratch"
end

# Two databases of an application, each with its settings.
class TenantA < ActiveRecord::Base
  self.abstract_class = true
end

class TenantB < ActiveRecord::Base
  self.abstract_class = true
end

def scalar(sql, on: ActiveRecord::Base)
  on.connection.select_value(sql)
end

check :connect_scram_tls do
  equal(scalar("SELECT current_user"), "app")
  equal(ActiveRecord::Base.connection.raw_connection.ssl_in_use?, true) if PG::Connection.method_defined?(:ssl_in_use?)
end

check :wrong_password_refused do
  TenantA.establish_connection(config(URL, password: "not-it"))
  begin
    scalar("SELECT 1", on: TenantA)
    raise "a wrong password was let in"
  rescue ActiveRecord::ActiveRecordError => error
    equal(error.message.include?("password authentication failed"), true)
  ensure
    TenantA.remove_connection
  end
end

check :types_round_trip do
  values = {
    num: BigDecimal("12345678901234567890.000000000123"),
    bytes: (0..255).to_a.pack("C*"),
    at: Time.utc(2024, 2, 29, 23, 59, 59 + Rational(123_456, 1_000_000)),
    day: Date.new(2024, 2, 29),
    flag: true,
    big: -(2**63),
    real8: 0.1,
    uid: "c0ffee00-0000-4000-8000-000000000001",
    ints: [1, nil, -3],
    texts: ['a"b', "c,d", "", "NULL", "é"],
    doc: { "a" => [1, 2.5, nil] },
    mood: "Very Keen",
    moods: ["calm", nil],
    nothing: nil
  }
  row = Type.find(Type.create!(values).id)
  values.each { |name, value| equal(row[name], value) }
  equal(Type.where(values.slice(:num, :at, :uid, :mood)).count, 1)
  row.destroy!
end

check :models_and_relations do
  authors = Author.includes(books: %i[publisher tags]).order(:id).limit(2)
  equal(authors.map { |author| author.books.map(&:title) }, [["The Left Hand of Darkness", "The Dispossessed", "Always Coming Home"], ["Small Gods", "Mort"]])
  equal(authors[1].books[0].tags.map(&:name), %w[classic funny])
  equal(Book.joins(:publisher).where(publishers: { city: "London" }).order(:id).pluck(:id), [2, 4, 5, 6])
  equal(Book.group(:author_id).order(:author_id).sum(:price).transform_values(&:to_s), { 1 => "22.49", 2 => "15.5", 3 => "10.0" })
  equal(Author.find(2).pupils.first.name, "Neil O'Hara")
end

check :prepared_reuse do
  equal(ActiveRecord::Base.connection.prepared_statements, true)
  threads = Array.new(9) do
    Thread.new do
      ActiveRecord::Base.connection_pool.with_connection do
        20.times { |turn| equal(Book.find(1 + turn % 6).id, 1 + turn % 6) }
      end
    end
  end
  threads.each(&:value)
end

check :statement_after_schema_change do
  connection = ActiveRecord::Base.connection
  connection.create_table(:changing, force: true) { |table| table.text :name }
  model = Class.new(ActiveRecord::Base) { self.table_name = "changing" }
  begin
    made = model.create!(name: "before")
    2.times { equal(model.find(made.id).name, "before") }
    connection.add_column(:changing, :more, :integer, default: 7)
    equal(model.find(made.id).name, "before")
    model.reset_column_information
    equal(model.find(made.id).more, 7)
  ensure
    connection.drop_table(:changing)
  end
end

check :transaction_and_savepoint do
  Scratch.delete_all
  Scratch.transaction do
    Scratch.create!(id: 1, body: "kept")
    fails(ActiveRecord::RecordNotUnique, "23505") do
      Scratch.transaction(requires_new: true) do
        Scratch.create!(id: 2, body: "undone")
        Scratch.create!(id: 1, body: "twice")
      end
    end
    Scratch.create!(id: 3, body: "kept")
  end
  Scratch.transaction(isolation: :serializable) do
    equal(scalar("SHOW transaction_isolation"), "serializable")
    Scratch.delete_all
    raise ActiveRecord::Rollback
  end
  equal(Scratch.order(:id).pluck(:id), [1, 3])
  Scratch.delete_all
end

check :error_then_usable do
  fails(ActiveRecord::StatementInvalid, "42703") { Book.where("nope = ?", 1).to_a }
  fails(ActiveRecord::NotNullViolation, "23502") { Author.create!(name: nil, email: "x") }
  equal(scalar("SELECT 1"), 1)
end

check :bulk_upsert do
  2.times do |turn|
    people = Array.new(20) { |number| { name: "n#{turn}", email: "bulk#{number}@example.org" } }
    Author.upsert_all(people, unique_by: :email)
  end
  equal(Author.where("email LIKE 'bulk%'").distinct.pluck(:name), ["n1"])
  equal(Author.where("email LIKE 'bulk%'").delete_all, 20)
end

check :find_each_in_batches do
  Scratch.insert_all(Array.new(3000) { |id| { id: id, body: "row #{id} é" } })
  equal(Scratch.find_each(batch_size: 500).count, 3000)
  Scratch.delete_all
end

check :advisory_lock do
  connection = ActiveRecord::Base.connection
  equal(connection.get_advisory_lock(4711), true)
  Thread.new do
    ActiveRecord::Base.connection_pool.with_connection { |other| equal(other.get_advisory_lock(4711), false) }
  end.value
  equal(connection.release_advisory_lock(4711), true)
end

check :migration do
  migration = Class.new(ActiveRecord::Migration[6.1]) do
    def change
      create_table(:migrated) { |table| table.text :name }
      add_index :migrated, :name, unique: true
    end
  end
  migration.suppress_messages do
    migration.migrate(:up)
    equal(ActiveRecord::Base.connection.index_exists?(:migrated, :name, unique: true), true)
    migration.migrate(:down)
  end
  equal(ActiveRecord::Base.connection.table_exists?(:migrated), false)
end

check :settings_apart do
  TenantA.establish_connection(config(SINGLE_URL, schema_search_path: "tenant_a"))
  TenantB.establish_connection(config(SINGLE_URL, schema_search_path: "tenant_b", variables: { statement_timeout: 5432 }))
  4.times do
    equal(scalar("SELECT owner FROM secrets", on: TenantA), "a")
    equal(scalar("SELECT owner FROM secrets", on: TenantB), "b")
    equal(scalar("SHOW statement_timeout", on: TenantA), "0")
    equal(scalar("SHOW statement_timeout", on: TenantB), "5432ms")
  end
ensure
  TenantA.remove_connection
  TenantB.remove_connection
end

annotated :include_by_annotate do
  2.times do
    author = Author.select(:id, :name).where(id: 2).annotate("@include(books(order: id))").first
    # The model's own `books` asks the database again; the column that came is the attribute.
    equal(author[:books].map { |book| book["title"] }, ["Small Gods", "Mort"])
  end
  rows = Book.order(:id).annotate("@include(publisher)").where(author_id: [2, 3])
  equal(rows.map { |book| book[:publisher]["city"] }, %w[London London London])
end

annotated :include_by_sql do
  author = Author.find_by_sql(["/* @include(books(order: id)) */ SELECT id, name FROM authors WHERE id = ?", 2]).first
  equal(author[:books].size, 2)
end

annotated :include_of_nothing_known do
  fails(ActiveRecord::StatementInvalid, "42703") { Author.annotate("@include(boks)").to_a }
  equal(Author.annotate("a comment, no annotation").find(1).id, 1)
end

annotated :upsert_by_sql do
  Author.transaction do
    ids = %w[First Second].map do |name|
      sql = "/* @upsert(email) */ INSERT INTO authors (name, email) VALUES (?, 'activerecord@example.org') RETURNING id, name"
      Author.find_by_sql([sql, name]).first.id
    end
    equal(ids.uniq.size, 1)
    equal(Author.find(ids.first).name, "Second")
    raise ActiveRecord::Rollback
  end
end

ActiveRecord::Base.establish_connection(config(URL))
ActiveRecord::Base.default_timezone = :utc
failed = 0
CHECKS.each do |name, run|
  run.call
  puts "ok #{name}"
rescue StandardError => error
  failed += 1
  puts "not ok #{name}: #{error.class}: #{error.message.gsub(/\s+/, ' ')}"
  warn error.full_message
end
exit(failed.zero? ? 0 : 1)
