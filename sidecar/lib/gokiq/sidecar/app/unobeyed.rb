# frozen_string_literal: true

require "sidekiq"
require "sidekiq/capsule"
require "sidekiq/fetch"
require "sidekiq/manager"

require_relative "../errors"
require_relative "gems"
require_relative "../sidekiq/stock"

module Gokiq
	module Sidecar
		# What limits, pauses, orders or guards jobs where Sidekiq fetches them. gokiq claims jobs itself, so that none of it
		# would be called: the start stops, unless the app says that it may be ignored.
		class Unobeyed
			# What protects nothing here, by the names under which it may be ignored.
			Finding = Struct.new(:names, :what) do
				def to_s
					"#{names.uniq.join(", ")} #{what}"
				end
			end

			# Fetchers that only keep jobs of a killed process, as gokiq's claims do.
			RELIABLE = %w[Sidekiq::ReliableFetch Sidekiq::SemiReliableFetch].freeze

			# Their fetchers keep jobs and heed pauses, as gokiq does; {Unused} speaks of the rest.
			PAID = /\A(sidekiq-(pro|ent)\z|Sidekiq::(Pro|Ent|Enterprise)\b)/

			# Sidekiq's own parts that do not run here, with the files of their methods.
			CLASSES = {::Sidekiq::BasicFetch => "fetch.rb", ::Sidekiq::Manager => "manager.rb"}.freeze

			CHANGED = "changes how Sidekiq fetches jobs, which gokiq does not call"

			# @parameter config [Sidekiq::Config]
			def initialize(config)
				@config = config
			end

			# @returns [Array(String)] What is ignored, one line for each.
			# @raises [BootError] If it names something that is not, or the list is wrong.
			def check
				found = all
				names = ignored(found)
				wanted, rest = found.partition { |finding| (finding.names & names).any? }
				refuse(rest) if rest.any?

				wanted.map { |finding| "ignored: #{finding}" }
			end

			# @returns [Array(Finding)]
			def all
				parts = CLASSES.flat_map { |owner, file| [*modules(owner), *methods(owner, file), *singleton(owner)] }
				[fetch_class, *parts, *fetchers, *gems].compact.uniq.reject { |finding| finding.names.any?(PAID) }
			end

			private

			def refuse(found)
				name = found.first.names.first
				raise BootError.new(
					"#{found.map(&:to_s).uniq.join("; ")}: what it limits, pauses, orders or guards would not hold",
					hint: "set gokiq's own limits, rates or pauses in its place (docs/migration.md), or start without by gokiq: { ignore: [#{name}] }",
					error_class: "ConfigError",
				)
			end

			# What the app lets pass by name.
			def ignored(found)
				section = @config[:gokiq]
				section = section.transform_keys(&:to_s) if Hash === section
				list = Hash === section ? section["ignore"] : nil
				return [] if list.nil?
				raise BootError.new("gokiq: ignore #{list.inspect}: must be a list of names, such as [#{Gems::Throttled::NAME}]", error_class: "ConfigError") unless Array === list && list.all? { |name| String === name || Symbol === name }

				known = found.flat_map(&:names) | Gems::ALL.map { |gem| gem::NAME }
				unknown = list.map(&:to_s) - known
				return list.map(&:to_s) if unknown.empty?

				raise BootError.new("gokiq: ignore: #{unknown.first}: nothing here has that name", hint: "take it out, or use one of: #{known.join(", ")}", error_class: "ConfigError")
			end

			def fetch_class
				other = @config[:fetch_class]
				return if other.nil? || other == ::Sidekiq::BasicFetch || Gems.obeyed?(other) || reliable?(other)

				finding(other, "replaces Sidekiq's fetcher, which gokiq does not use")
			end

			def reliable?(other)
				other.respond_to?(:ancestors) && other.ancestors.any? { |part| RELIABLE.include?(part.name) }
			end

			# Those that somebody has prepended or included.
			def modules(owner)
				own = owner.ancestors - owner.superclass.ancestors - [owner]
				others = own.reject { |part| home?(part) || Gems.obeyed?(part) }
				others.map { |part| finding(part, "in #{owner}: #{CHANGED}") }
			end

			def home?(part)
				part.name && Object.const_source_location(part.name)&.first.to_s.start_with?("#{Stock::HOME}/")
			end

			# Those that were written anew in the class itself.
			def methods(owner, file)
				names = owner.instance_methods(false) + owner.private_instance_methods(false)
				changed = names.filter_map do |name|
					method = owner.instance_method(name)
					method = method.super_method until method.nil? || method.owner == owner
					[name, method] if method && method.source_location&.first != "#{Stock::HOME}/#{file}"
				end
				changed.map { |name, method| Finding.new([gem_at(method.source_location), "#{owner}##{name}"].compact, "was rewritten: it #{CHANGED}") }
			end

			# Those of the class object, such as `new`: Sidekiq has none of its own.
			def singleton(owner)
				owner.singleton_methods(false).map { |name| Finding.new([gem_at(owner.method(name).source_location), "#{owner}.#{name}"].compact, "was rewritten: it #{CHANGED}") } +
					(owner.singleton_class.ancestors - Class.ancestors - owner.superclass.singleton_class.ancestors - [owner.singleton_class]).map { |part| finding(part, "in #{owner}: #{CHANGED}") }
			end

			# Of the capsules, where somebody chooses another.
			def fetchers
				method = ::Sidekiq::Capsule.instance_method(:fetcher)
				found = method.source_location&.first == "#{Stock::HOME}/capsule.rb" ? [] : [Finding.new([gem_at(method.source_location), "Sidekiq::Capsule#fetcher"].compact, "was rewritten: it #{CHANGED}")]
				found + @config.capsules.each_value.filter_map { |capsule| own_fetcher(capsule) }
			end

			def own_fetcher(capsule)
				other = capsule.instance_variable_get(:@fetcher)
				return if other.nil? || ::Sidekiq::BasicFetch === other && other.instance_of?(::Sidekiq::BasicFetch)
				return if other.class == @config[:fetch_class] || other == @config[:fetch_class]

				finding(other.class, "fetches for the capsule #{capsule.name} in place of Sidekiq's fetcher, which gokiq does not use")
			end

			def gems
				Gems.there.flat_map { |gem| gem.refusals(@config).map { |reason| Finding.new([gem::NAME], "cannot be obeyed: #{reason}") } }
			end

			def finding(part, what)
				Finding.new([gem_at(place(part)), part.name || place(part)&.join(":") || part.inspect].compact, what)
			end

			# Where a module or class was written; what has no name is known by its first method.
			def place(part)
				return part.class.then { |owner| place(owner) } unless Module === part
				return Object.const_source_location(part.name) if part.name && Object.const_source_location(part.name)&.any?

				first = (part.instance_methods(false) + part.private_instance_methods(false)).first
				part.instance_method(first).source_location if first
			end

			# @returns [String | Nil] The name of the gem that a file belongs to.
			def gem_at(place)
				path = place&.first or return
				spec = ::Gem.loaded_specs.each_value.find { |one| path.start_with?("#{one.full_gem_path}/") }
				spec.name if spec && spec.name != "sidekiq"
			end
		end
	end
end
