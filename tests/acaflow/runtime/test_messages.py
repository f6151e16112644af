def test_a(ledger):
    print(ledger.url)


def test_r(redis_server, database_url):
    print(redis_server.url)
