# frozen_string_literal: true

# Evaluates Ruby in a process of its own, with the unmodified gem's API, and answers in JSON: one request a line,
# `{"token": …, "code": …}`, one answer a line, the token and `{"value": …}` or `{"error": …}`.

require "json"
require "sidekiq/api"

$stdout.sync = true

$stdin.each_line do |line|
	request = JSON.parse(line)

	answer = begin
		{value: TOPLEVEL_BINDING.eval(request["code"])}
	rescue Exception => error
		{error: "#{error.class}: #{error.message}"}
	end

	puts request["token"] + JSON.generate(answer)
end
