# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# A worker before a peer that is no orchestrator, or a broken one.
class HostilePeerTest < Minitest::Test
	include WithRoot

	NOBODY = 65_534

	def test_another_user_hears_nothing
		skip "only root becomes another user" unless Process.uid.zero?

		root = start
		# Even where file and folder would let it in:
		File.chmod(0o755, File.dirname(root.socket_path))
		File.chmod(0o666, root.socket_path)

		assert_equal "heard:", heard_by(NOBODY, root.socket_path)
		assert_equal "fiber", root.connect.await_hello["lane"]
	end

	def test_garbage_before_welcome
		root = start
		pid = nil

		["GET / HTTP/1.1\r\n\r\n", "\xFF".b * 1000, [0, 5, 0, 0].pack("NCCn"), [1, 10, 0, 0].pack("NCCn")].each do |bytes|
			peer = root.connect
			pid ||= peer.await_hello["pid"]
			peer.await_hello unless peer.hello
			peer.write(bytes)
			refute_empty JSON.parse(peer.expect(:ERROR))["reason"]
			peer.await_close
		end

		assert_equal pid, root.greet.hello["pid"]
	end

	def test_welcome_of_another_kind
		root = start
		pid = nil

		["", "[]", "{}", "null", "{", "\xFF", '{"routes":{}}', '{"routes":[1]}', '{"routes":[null]}', '{"routes":[["capsule"]]}',
			'{"routes":[{"capsule":1,"queue":"a"}]}', '{"routes":[{"capsule":"default"}]}', '{"routes":[{"capsule":"default","queue":[]}]}',
			"[" * 5_000].each do |body|
			peer = root.connect
			pid ||= peer.await_hello["pid"]
			peer.await_hello unless peer.hello
			peer.send(:WELCOME, body)
			assert_match(/WELCOME/, JSON.parse(peer.expect(:ERROR))["reason"], body)
			peer.await_close
		end

		assert_equal pid, root.greet.hello["pid"]
	end

	def test_half_a_frame
		root = start
		peer = root.greet
		peer.write(Wire.frame(:BATCH, Wire.batch({1 => Peer.payload("NoteJob", "half")})).byteslice(0..-2))
		peer.close
		other = root.greet

		refute_equal peer.hello["pid"], other.hello["pid"]
		other.jobs(1 => ["NoteJob", "whole"])
		assert_equal :ok, other.results(1).fetch(1).status
		refute_includes root.notes.join, "half"
	end

	def test_one_that_reads_nothing_for_a_while
		peer = start.greet
		text = "x" * 300_000
		peer.jobs((1..50).to_h { |number| [number, ["RaiseJob", text]] })
		# Frames that it answers, behind more than a socket holds:
		1_000.times { peer.send(:PING, "12345678") }
		pongs = 0
		statuses = {}

		until pongs == 1_000 && statuses.size == 50
			type, body = peer.frame
			pongs += 1 if type == :PONG
			Wire.results(body).each { |result| statuses[result.number] = result.status } if type == :RESULTS
		end

		assert_equal [:retry], statuses.values.uniq
	end

	private

	# @returns [String] The first bytes that a process of that user reads from the socket, after "heard:".
	def heard_by(user, path)
		output, input = IO.pipe
		child = fork do
			output.close
			Process::Sys.setgid(user)
			Process::Sys.setuid(user)
			socket = UNIXSocket.new(path)
			input.write("heard:#{socket.wait_readable(Wait::LIMIT_S) && socket.readpartial(8)}")
		rescue EOFError
			input.write("heard:")
		ensure
			exit!(0)
		end
		input.close
		output.read
	ensure
		Process.wait(child)
	end
end
