# frozen_string_literal: true

class Attempt < ApplicationRecord
end
