# frozen_string_literal: true

module Gokiq
	module Sidecar
		# What a class or module answered to when the sidecar was loaded, before the application: every method of it and of the
		# modules in it, its own singleton methods too. Asked later, it names the methods that somebody has changed since.
		#
		# A method counts when Sidekiq's code can reach it: a name that was there before, or one that any object answers to
		# (`rand`, `raise`, `new`). What an application adds under a name of its own nobody calls but itself.
		class Fingerprint
			# Names that any object has, and those that any class has.
			ANY = (Object.instance_methods + Object.private_instance_methods).to_h { |name| [name, true] }.freeze
			ANY_CLASS = (Class.instance_methods + Class.private_instance_methods).to_h { |name| [name, true] }.freeze

			# @parameter of [Module]
			# @parameter homes [Array(String)] Where its own code lies. A method from elsewhere was changed before we came.
			def initialize(of, homes)
				@of = of
				@methods = read(of, Object)
				@singleton = read(of.singleton_class, Object.singleton_class)
				@foreign = [*@methods, *@singleton].reject { |_, methods| methods.all? { |method| at_home?(method, homes) } }.map(&:first)
			end

			# @returns [Array(Symbol)] Names of methods that are not what they were.
			def changed
				@foreign | compare(@methods, read(@of, Object), ANY) | compare(@singleton, read(@of.singleton_class, Object.singleton_class), ANY_CLASS)
			end

			private

			# @returns [Hash(Symbol, Array(UnboundMethod))] What each name stands for, and what that calls by `super`. Without what
			#   Ruby gives to many classes.
			def read(of, root)
				lineage = of.ancestors - root.ancestors - Struct.ancestors
				names = lineage.flat_map { |mod| mod.instance_methods(false) + mod.private_instance_methods(false) }
				names.to_h { |name| [name, find(of, name, lineage)] }
			end

			def find(of, name, lineage)
				method = of.instance_method(name)
				methods = []

				while method && lineage.include?(method.owner)
					methods << method
					method = method.super_method
				end

				methods
			rescue NameError
				# It is undefined.
				[]
			end

			# A method written in C, or by an attribute of one, has no file.
			def at_home?(method, homes)
				path = method.source_location&.first
				path.nil? || path.start_with?(*homes)
			end

			def compare(before, now, reachable)
				(before.keys | now.keys).select do |name|
					before[name] != now[name] && (before.key?(name) || reachable.key?(name))
				end
			end
		end
	end
end
