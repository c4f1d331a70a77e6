# frozen_string_literal: true

class Refusal < ApplicationRecord
end
