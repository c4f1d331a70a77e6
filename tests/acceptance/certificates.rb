# frozen_string_literal: true

# Makes a certificate authority that nobody needs to trust, and certificates of a server on this machine and of a
# client, in the folder that is given: `ca.pem`, and for each `NAME.pem` and `NAME.key`.

require "openssl"

FOLDER = ARGV.fetch(0)

def issue(name, issuer, issuer_key, *extensions)
	key = OpenSSL::PKey::EC.generate("prime256v1")
	certificate = OpenSSL::X509::Certificate.new
	certificate.version = 2
	certificate.serial = Random.rand(1..2**60)
	certificate.subject = OpenSSL::X509::Name.parse("/CN=#{name}")
	certificate.issuer = issuer ? issuer.subject : certificate.subject
	certificate.public_key = key
	certificate.not_before = Time.now - 3600
	certificate.not_after = Time.now + 3600
	factory = OpenSSL::X509::ExtensionFactory.new(issuer || certificate, certificate)
	extensions.each { |extension| certificate.add_extension(factory.create_extension(*extension)) }
	certificate.sign(issuer_key || key, OpenSSL::Digest.new("SHA256"))
	File.write(File.join(FOLDER, "#{name}.pem"), certificate.to_pem)
	File.write(File.join(FOLDER, "#{name}.key"), key.to_pem, perm: 0o600)
	[certificate, key]
end

authority = issue("ca", nil, nil, ["basicConstraints", "CA:TRUE", true], ["keyUsage", "keyCertSign,cRLSign", true], ["subjectKeyIdentifier", "hash"])

issue("server", *authority, ["subjectAltName", "DNS:localhost,IP:127.0.0.1"])
issue("elsewhere", *authority, ["subjectAltName", "DNS:elsewhere.example"])
issue("client", *authority, ["subjectAltName", "DNS:client.example"])
