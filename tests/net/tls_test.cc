// TLS 1.3 between server and client, with certificates made here.
#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <cstdio>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// A self-signed certificate for the address or name given ("IP:127.0.0.1", "DNS:x").
struct Certificate {
  explicit Certificate(const std::string& who) {
    std::string name = (fs::temp_directory_path() / "zeroth-tls-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_EXTENSION* names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, who.c_str());
    X509_add_ext(certificate, names, -1);
    X509_sign(certificate, key, EVP_sha256());
    std::FILE* out = std::fopen(pem().c_str(), "w");
    PEM_write_X509(out, certificate);
    std::fclose(out);
    out = std::fopen(key_pem().c_str(), "w");
    PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(out);
    X509_EXTENSION_free(names);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~Certificate() { fs::remove_all(folder); }
  std::string pem() const { return (folder / "cert.pem").string(); }
  std::string key_pem() const { return (folder / "key.pem").string(); }
  fs::path folder;
};

struct Server {
  explicit Server(const Certificate& certificate)
      : server({.certificate_file = certificate.pem(), .key_file = certificate.key_pem()}) {
    server.start(
        [](const HttpRequest&, uint64_t& limit) -> std::optional<HttpReply> {
          limit = 64 << 20;
          return std::nullopt;
        },
        [](HttpExchangePtr exchange) { exchange->reply({.text = exchange->request().body}); });
  }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(server.port()) + "/"; }
  HttpServer server;
};

TEST_CASE("a server with a certificate that is trusted") {
  const Certificate certificate("IP:127.0.0.1");
  Server server(certificate);
  HttpClient client(parse_web_url(server.url()), 64 << 20, {certificate.pem()});
  for (const size_t bytes : {0, 5, 3 << 20}) {
    const std::string body(bytes, 'x');
    CHECK(client.send({.body = body}, 5, 20).body == body);
  }
  CHECK(server.server.stats().accepted == 1);
}

TEST_CASE("strangers, wrong names and plain connections get nowhere") {
  const Certificate certificate("IP:127.0.0.1"), other("IP:127.0.0.1"), named("DNS:elsewhere");
  Server server(certificate), elsewhere(named);
  const auto refused = [](const std::string& url, const std::string& ca) {
    HttpClient client(parse_web_url(url), 1 << 20, {ca});
    CHECK_THROWS_WITH_AS(client.send({}, 5, 5), doctest::Contains("TLS"), HttpFault);
  };
  refused(server.url(), other.pem());
  refused(server.url(), "");  // the system's list
  refused(elsewhere.url(), named.pem());
  HttpClient plain(parse_web_url("http://127.0.0.1:" + std::to_string(server.server.port())), 1000);
  CHECK_THROWS_AS(plain.send({}, 5, 5), HttpFault);
  HttpClient wrong_file(parse_web_url(server.url()), 1000, {"/nowhere.pem"});
  CHECK_THROWS_WITH_AS(wrong_file.send({}, 5, 5), doctest::Contains("/nowhere.pem"), Error);
}

TEST_CASE("older protocols are refused") {
  const Certificate certificate("IP:127.0.0.1");
  Server server(certificate);
  namespace asio = boost::asio;
  asio::io_context io;
  asio::ssl::context context(asio::ssl::context::tlsv12_client);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, context);
  stream.next_layer().connect({asio::ip::address_v4::loopback(), server.server.port()});
  boost::system::error_code error;
  stream.handshake(asio::ssl::stream_base::client, error);
  CHECK(error);
}

TEST_CASE("a certificate that is none, or has another key, is an error at the start") {
  const Certificate certificate("IP:127.0.0.1"), other("IP:127.0.0.1");
  const auto make = [](const std::string& pem, const std::string& key) {
    HttpServer({.certificate_file = pem, .key_file = key});
  };
  CHECK_THROWS_AS(make(certificate.pem(), ""), Error);
  CHECK_THROWS_AS(make("", certificate.key_pem()), Error);
  CHECK_THROWS_AS(make("/nowhere.pem", certificate.key_pem()), Error);
  CHECK_THROWS_AS(make(certificate.key_pem(), certificate.key_pem()), Error);
  CHECK_THROWS_AS(make(certificate.pem(), other.key_pem()), Error);
}

}  // namespace
}  // namespace zeroth
