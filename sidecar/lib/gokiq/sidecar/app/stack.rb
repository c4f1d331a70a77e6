# frozen_string_literal: true

module Gokiq
	module Sidecar
		# How deep a job can recurse in a fiber. Ruby gives threads eight times as much as fibers, unless the environment says
		# otherwise before Ruby starts; pages that are not touched cost nothing.
		module Stack
			PARTS = %i[vm machine].freeze

			# @parameter params [Hash] Bytes, as Ruby names them.
			# @returns [String | Nil] What to set where fibers have less than threads and nobody has said that they shall.
			def self.advice(params = defined?(::RubyVM::DEFAULT_PARAMS) ? ::RubyVM::DEFAULT_PARAMS : {}, env = ENV)
				small = PARTS.reject { |part| env.key?(variable(part)) || params.fetch(:"fiber_#{part}_stack_size", 0) >= params.fetch(:"thread_#{part}_stack_size", 0) }
				return if small.empty?

				wanted = small.map { |part| "#{variable(part)}=#{params.fetch(:"thread_#{part}_stack_size")}" }
				"jobs can recurse less deeply in fibers than in Sidekiq's threads; set #{wanted.join(" ")} where the sidecar is started"
			end

			def self.variable(part)
				"RUBY_FIBER_#{part.to_s.upcase}_STACK_SIZE"
			end
			private_class_method :variable
		end
	end
end
